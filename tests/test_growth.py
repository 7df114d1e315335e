"""Memory does not grow with the number of steps, whatever the method."""

from __future__ import annotations

import gc
import resource
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import Batch, Batches, bound, line, pair, points, problem
from torch import Tensor
from torch.nn.functional import mse_loss

from mlograph.executor import Executor
from mlograph.language.methods import METHODS
from mlograph.loggers.protocol import Record
from mlograph.losses import proximal
from mlograph.plan import Tasks
from mlograph.program import Program
from mlograph.views import View


def fit(lower: View, upper: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1]) + proximal(lower, upper)


def judge(lower: View, upper: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1]) + proximal(upper, lower, 0.1)


def program(method: str) -> Program:
    """A small bilevel graph with all that keeps state: momentum, Adam, a schedule, warm starts."""
    momentum = {"_target_": "sgd", "lr": 0.01, "momentum": 0.5}
    start = {"start_from": "upper"} if METHODS[method]().needs_start else {}
    return bound(
        pair(
            problem(line(), judge, data=Batches(points(8)), optimizer="adam"),
            problem(
                line(seed=1),
                fit,
                data=Batches(points(8, seed=2)),
                optimizer={"_target_": "sgd", "lr": 0.01} if start else momentum,
                scheduler={"_target_": "exponential", "gamma": 0.9999},
                unroll_steps=2,
                hypergradient=method,
                **start,
            ),
        )
    )


def run(executor: Executor, periods: int, program: Program) -> None:
    for number in range(periods):
        for instruction in program.plan.period:
            executor.execute(instruction)
        if number % 10 == 0:
            for meter in executor.meters.values():
                meter.flush()
            executor.remarks.clear()


def living() -> tuple[int, int]:
    """How many objects the collector knows, and how many of them are tensors."""
    gc.collect()
    objects = gc.get_objects()
    return len(objects), sum(type(x) is Tensor for x in objects)


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_left_behind_by_a_step(method: str):
    made = program(method)
    executor = Executor(made)
    run(executor, 21, made)
    objects, tensors = living()
    run(executor, 101, made)
    more, tensors_then = living()
    assert tensors_then == tensors
    # One object a step would be a hundred and one.
    assert more - objects < 50


def resident() -> float:
    """MB of memory in use; the most there ever was where the system does not tell."""
    statm = Path("/proc/self/statm")
    if statm.exists():
        return int(statm.read_text().split()[1]) * resource.getpagesize() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_memory_is_flat_over_ten_thousand_steps(method: str):
    torch.set_num_threads(1)
    made = program(method)
    executor = Executor(made)
    run(executor, 2000, made)
    gc.collect()
    before = resident()
    run(executor, 10_000, made)
    gc.collect()
    assert resident() - before <= 1.0


class Scale:
    """Weighs the process while a run goes on."""

    def __init__(self, *steps: int) -> None:
        self.steps, self.found = steps, list[float]()

    def start(self, total: int) -> None: ...

    def progress(self, step: int) -> None:
        if step in self.steps:
            gc.collect()
            self.found.append(resident())

    def log(self, record: Record) -> None: ...

    def close(self) -> None: ...


WAYS: dict[str, dict[str, Any]] = {
    "kept": {},
    "sinks": {"loggers": ["csv", "tensorboard"]},
    "verbose": {"log_every": 1000},
    "compiled": {"execution": {"compile": "on"}},
    "processes": {"execution": {"tasks": "processes", "workers": 2}},
    "both": {"execution": {"tasks": "both", "workers": 2}},
}


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_memory_of_a_whole_run_is_flat(
    way: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # Sinks of a graph that Python makes write where the process works.
    monkeypatch.chdir(tmp_path)
    torch.set_num_threads(1)
    spread = way in {"processes", "both"}
    start = {"start_from": "upper"} if spread else {}
    window = {"gradient_accumulation": 2} if spread else {}
    declared = pair(
        problem(line(), judge, data=Batches(points(8)), optimizer="adam", **window),
        problem(line(seed=1), fit, data=Batches(points(8, seed=2)), hypergradient="cg", **start),
        steps=12_000,
        engine={"log_every": 20, **WAYS[way]},
    )
    assert spread == any(isinstance(one, Tasks) for one in declared.plan().tasks)
    scale = Scale(2000, 12_000)
    declared.run(tmp_path, [scale], quiet=way != "verbose", verbose=way == "verbose")
    # Some of it are the records that the result holds.
    assert scale.found[1] - scale.found[0] <= 1.0
