"""Records kept in memory."""

from __future__ import annotations

from collections.abc import Sequence

from mlograph.loggers.protocol import Record


class Memory:
    """Keeps every record.

    Attributes:
        total: updates that the run set out to make; None until it began.
        step: updates made so far.
        closed: whether the run is over.
    """

    def __init__(self) -> None:
        self.total: int | None = None
        self.step = 0
        self.closed = False
        self._records: list[Record] = []

    @property
    def records(self) -> tuple[Record, ...]:
        """Everything logged, in order."""
        return tuple(self._records)

    def start(self, total: int) -> None:
        """Notes that the run began."""
        self.total = total

    def recall(self, records: Sequence[Record], step: int) -> None:
        """Keeps what was told before the run was resumed."""
        self._records = list(records)
        self.step = step

    def progress(self, step: int) -> None:
        """Notes how far the run is."""
        self.step = step

    def log(self, record: Record) -> None:
        """Keeps the record."""
        self._records.append(record)

    def close(self) -> None:
        """Notes that the run is over."""
        self.closed = True
