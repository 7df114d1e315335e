"""What a finished run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from mlograph.loggers.protocol import Record


@dataclass(frozen=True)
class RunResult:
    """The outcome of a run.

    Attributes:
        name: of the graph.
        steps: updates of the counted problem that were made.
        seconds: wall-clock time.
        ended: why it ended, in words: `all steps made`, `no improvement for 5 validations`, ….
        records: everything that was logged, in order.
        modules: the trained module of every problem.
        directory: the run directory, if one was written.
    """

    name: str
    steps: int
    seconds: float
    ended: str
    records: tuple[Record, ...]
    modules: Mapping[str, nn.Module]
    directory: Path | None = None

    def last(self, kind: str = "train") -> Mapping[str, float]:
        """The values of the last record of a kind; empty if there is none."""
        for record in reversed(self.records):
            if record.kind == kind:
                return record.values
        return {}
