"""What a run tells its loggers, and all that it has told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal, final

from mlograph.loggers.protocol import ContinuedLogger, Logger, RecallingLogger, Record
from mlograph.progress import Progress


@final
class Journal:
    """Tells every logger everything, each record with its step and its time.

    Args:
        loggers: are told.
        progress: of the run.
        hide: takes what came from the environment out of a text that is told.

    Attributes:
        records: everything that was told.
        before: where the loggers of an interrupted run stood; None in a run that begins.
    """

    def __init__(
        self, loggers: Sequence[Logger], progress: Progress, hide: Callable[[str], str] = str
    ) -> None:
        self.records: list[Record] = []
        self.before: dict[str, int] | None = None
        self._loggers = loggers
        self._progress = progress
        self._hide = hide

    def open(self) -> None:
        """Start the loggers; where a run goes on, those that can go on with it do."""
        total, before = self._progress.plan.steps, self.before
        continued = {id(one): name for name, one in self._continued()}
        for logger in self._loggers:
            known = continued.get(id(logger))
            if isinstance(logger, ContinuedLogger) and before and known in before:
                self.records = list(logger.resume(total, before[known])) or self.records
            else:
                logger.start(total)
        if before is None:
            return
        for logger in self._loggers:
            logger.progress(self._progress.steps)
            if isinstance(logger, RecallingLogger):
                logger.recall(self.records, self._progress.steps)

    def positions(self) -> dict[str, int]:
        """Where the loggers stand that can go on; what was told so far is safe from now on."""
        return {name: one.position() for name, one in self._continued()}

    def updated(self) -> None:
        """Another update of the counted problem has been made."""
        for logger in self._loggers:
            logger.progress(self._progress.steps)

    def tell(self, text: str) -> None:
        """Log something worth telling."""
        self.log("event", {}, text)

    def tell_once(self, text: str) -> None:
        """Log something worth telling unless that was done before."""
        text = self._hide(text)
        if all(text != record.text for record in self.records):
            self.tell(text)

    def log(
        self,
        kind: Literal["train", "validation", "baseline", "event"],
        values: Mapping[str, float],
        text: str = "",
    ) -> None:
        """Log a `Record` of this moment."""
        values = {self._hide(name): value for name, value in values.items()}
        progress = self._progress
        record = Record(kind, progress.steps, progress.elapsed, values, self._hide(text))
        self.records.append(record)
        for logger in self._loggers:
            logger.log(record)

    def _continued(self) -> Iterator[tuple[str, ContinuedLogger]]:
        """The loggers that can go on, by names that tell them apart."""
        seen: dict[str, int] = {}
        for logger in self._loggers:
            if isinstance(logger, ContinuedLogger):
                number = seen[logger.name] = seen.get(logger.name, 0) + 1
                yield f"{logger.name} {number}", logger
