"""What a logger is: something that is told what happens during a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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
