"""How a run of a sweep ended, in a small file beside its folder."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlograph.loggers.protocol import Record
from mlograph.loggers.row import number
from mlograph.rundir import write_whole

Numbers = Mapping[str, float]

_TAIL = 1 << 16


@dataclass(frozen=True)
class Outcome:
    """How a run ended.

    Attributes:
        code: as the exit code of `mlograph run`: 0, 2, 3 or 4; 1 if Python ended it with an error
            that is not mlograph's, 128 and more if a signal did.
        ended: why, in words.
        steps: updates of the counted problem that were made, of `total`.
        total: updates that were asked for.
        seconds: wall-clock time.
        validation: the values of the last validation.
        train: the last value of every loss and metric of a problem.
    """

    code: int
    ended: str
    steps: int = 0
    total: int = 0
    seconds: float = 0.0
    validation: Numbers = field(default_factory=dict)
    train: Numbers = field(default_factory=dict)

    @property
    def status(self) -> str:
        """In one word."""
        if self.code >= 128:
            return "interrupted"
        return {0: "finished", 3: "not finite"}.get(self.code, "failed")

    @property
    def finished(self) -> bool:
        """Whether the run came to its end."""
        return self.code == 0

    def value(self, metric: str) -> float | None:
        """A number by its name: of validation, else of training; `val.` means validation."""
        for found in (self.validation, self.train):
            if metric in found:
                return found[metric]
        return self.validation.get(metric.removeprefix("val."))

    @property
    def metrics(self) -> Numbers:
        """What tables show: the last validation; without one, the losses."""
        if self.validation:
            return self.validation
        return {name: value for name, value in self.train.items() if name.endswith(".loss")}


def gathered(records: Sequence[Record]) -> tuple[Numbers, Numbers]:
    """The values of the last validation, and the last value of every name of training."""
    validation: Numbers = {}
    train: dict[str, float] = {}
    for record in records:
        if record.kind == "validation":
            validation = record.values
        elif record.kind == "train":
            train |= record.values
    return validation, train


def write_outcome(path: Path, outcome: Outcome) -> None:
    """Writes the file at once, so that it is whole or not there.

    Raises:
        StorageError: it cannot be written.
    """
    data = {
        "code": outcome.code,
        "ended": outcome.ended,
        "steps": outcome.steps,
        "total": outcome.total,
        "seconds": round(outcome.seconds, 3),
        "validation": {name: number(value) for name, value in outcome.validation.items()},
        "train": {name: number(value) for name, value in outcome.train.items()},
    }
    write_whole(path, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def read_outcome(path: Path) -> Outcome | None:
    """How a run ended; None where it has not, or where nobody can tell."""
    try:
        data: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return Outcome(
            code=int(data["code"]),
            ended=str(data["ended"]),
            steps=int(data["steps"]),
            total=int(data["total"]),
            seconds=float(data["seconds"]),
            validation={str(k): float(v) for k, v in data["validation"].items()},
            train={str(k): float(v) for k, v in data["train"].items()},
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def reached(metrics: Path) -> int:
    """The step of the last record in the file that a run writes as it goes on."""
    try:
        with metrics.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - _TAIL))
            *_, last, _ = file.read().split(b"\n")
            return int(json.loads(last)["step"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0
