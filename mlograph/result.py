"""What a finished run gives back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from mlograph import notebook
from mlograph.loggers.lines import duration
from mlograph.loggers.protocol import Record
from mlograph.pictures import Picture
from mlograph.profiling import Profile


@dataclass(frozen=True, repr=False)
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
        profile: where its time and memory went, if that was asked for.
        pictures: of what was learned, as far as it can be drawn.
    """

    name: str
    steps: int
    seconds: float
    ended: str
    records: tuple[Record, ...]
    modules: Mapping[str, nn.Module]
    directory: Path | None = None
    profile: Profile | None = None
    pictures: tuple[Picture, ...] = ()

    def __repr__(self) -> str:
        """In one line: what a console shows; the records may be many thousands."""
        ended = f"{self.ended}, {self.steps:,} updates in {duration(self.seconds)}"
        place = f", in {str(self.directory)!r}" if self.directory is not None else ""
        return f"<RunResult of {self.name!r}: {ended}{place}>"

    def last(self, kind: str = "train") -> Mapping[str, float]:
        """The values of the last record of a kind; empty if there is none."""
        for record in reversed(self.records):
            if record.kind == kind:
                return record.values
        return {}

    def plot(self, *names: str) -> Any:
        """A matplotlib figure of the curves with these names, or of all that changed.

        `result.plot("outer.loss", "validation.accuracy").savefig("curves.png")`

        Raises:
            UsageError: no such name, or matplotlib is not installed: `mlograph[notebook]`.
        """
        return notebook.plot(self.records, names)

    def to_pandas(self) -> Any:
        """A DataFrame: one row a record, the columns kind, step, seconds, text and every name.

        Raises:
            UsageError: pandas is not installed: `mlograph[notebook]`.
        """
        return notebook.to_pandas(self.records)

    def _repr_html_(self) -> str:
        """What a notebook shows: the curves, and what was learned."""
        ended = f"{self.ended}, {self.steps:,} updates"
        return notebook.as_html(self.name, ended, self.seconds, self.records, self.pictures)
