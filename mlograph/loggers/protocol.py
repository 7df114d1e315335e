"""What a logger is: something that is told what happens during a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol, runtime_checkable


@dataclass(frozen=True)
class Record:
    """What was measured at one moment of a run.

    Attributes:
        kind: `train`: losses and metrics of problems; `validation`: what the validator found;
            `baseline`: what a validator found for a baseline; `event`: something worth telling.
        step: updates of the counted problem made so far.
        seconds: since the run began.
        values: by dotted name, such as `outer.loss`, `inner.residual`, `accuracy`.
        text: for an `event`, what happened; for a `baseline`, its name.
    """

    kind: Literal["train", "validation", "baseline", "event"]
    step: int
    seconds: float
    values: Mapping[str, float] = field(default_factory=dict)
    text: str = ""


@runtime_checkable
class Logger(Protocol):
    """A sink for records; one is made for each run."""

    def start(self, total: int) -> None:
        """The run begins; it will make `total` updates of the counted problem."""
        ...

    def progress(self, step: int) -> None:
        """`step` updates of the counted problem have been made; called at every one."""
        ...

    def log(self, record: Record) -> None:
        """Something was measured."""
        ...

    def close(self) -> None:
        """The run is over, well or not; called once."""
        ...


@runtime_checkable
class PlacedLogger(Logger, Protocol):
    """A sink that writes to one file or folder; a graph file's is put in the folder of its run."""

    @property
    def path(self) -> str | Path:
        """Where it writes; the name of what it makes, where nothing else was said."""
        ...

    def placed(self, path: Path) -> Logger:
        """The same sink, writing to `path`; this one was not started."""
        ...


@runtime_checkable
class ContinuedLogger(Logger, Protocol):
    """A sink that a resumed run goes on with, as if there had been no interruption."""

    @property
    def name(self) -> str:
        """Tells it apart from others, wherever it is."""
        ...

    def position(self) -> int:
        """How far it is; what was told so far is safe from now on."""
        ...

    def resume(self, total: int, position: int) -> tuple[Record, ...]:
        """In place of `start`: forget what came after `position`, and go on from there.

        Returns:
            What was told before, where the sink can tell.

        Raises:
            StorageError: it is not there any more.
        """
        ...


@runtime_checkable
class RecallingLogger(Logger, Protocol):
    """A sink that wants to know what was told before a run was resumed."""

    def recall(self, records: Sequence[Record], step: int) -> None:
        """After `start`: these records were told, and `step` updates made, before."""
        ...
