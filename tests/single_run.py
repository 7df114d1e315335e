"""Runs of one problem, a validator that is told what to say, and a logger that notes all."""

from __future__ import annotations

from typing import Any

from builders import Batches, graph, line, points, problem

import mlograph
from mlograph.loggers.protocol import Record
from mlograph.result import RunResult

MSE = {"_target_": "mse", "model": "a"}


def alone(loss: object = MSE, *, steps: int = 4, engine: Any = None, **changes: Any) -> Any:
    """A graph of one problem `a` on some points."""
    spec = {"module": line(), "data": Batches(points()), **changes}
    return graph({"a": problem(spec.pop("module"), loss, **spec)}, steps=steps, engine=engine or {})


def trained(declared: mlograph.Graph, *loggers: Any) -> RunResult:
    return declared.run(quiet=True, loggers=loggers)


class Scripted:
    """A validator that says what it was told to say."""

    def __init__(self, *values: float) -> None:
        self.values = list(values)
        self.asked: list[bool] = []

    def baselines(self, trial: Any) -> dict[str, dict[str, float]]:
        return {"chance": {"score": 0.5}}

    def validate(self, trial: Any) -> dict[str, float]:
        self.asked.append(trial.final)
        return {"score": self.values[min(len(self.asked), len(self.values)) - 1]}


class Diary:
    """A logger that writes down what it is told."""

    def __init__(self) -> None:
        self.entries: list[str] = []
        self.closed = 0

    def start(self, total: int) -> None:
        self.entries.append(f"start {total}")

    def progress(self, step: int) -> None:
        self.entries.append(f"step {step}")

    def log(self, record: Record) -> None:
        self.entries.append(f"{record.kind} {record.step}")

    def close(self) -> None:
        self.entries.append("close")
        self.closed += 1
