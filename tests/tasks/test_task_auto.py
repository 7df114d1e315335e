"""With `auto`, worker processes are tried where they may be worth it, and kept where they are."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from builders import Batch, bound
from task_graphs import CG, numbers, tasks
from torch import Tensor

from mlograph import Graph
from mlograph.executor import Executor
from mlograph.losses import mse, proximal
from mlograph.result import RunResult
from mlograph.views import View

HERE = os.getpid()
WINDOWS = 18
# Seconds that losses pretend to have taken in this process.
PRETENDED = [0.0]


@pytest.fixture(autouse=True)
def worth_it(monkeypatch: pytest.MonkeyPatch):
    """On whatever machine, and however short the run is."""
    for module in ("worth", "distribution"):
        monkeypatch.setattr(f"mlograph.tasks.{module}.cores", lambda: 2)
    monkeypatch.setattr("mlograph.tasks.worth._LEAST_SECONDS", 0.0)


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch):
    """On however busy a machine."""

    def now(*_: object) -> float:
        return time.perf_counter() + PRETENDED[0]

    monkeypatch.setattr("mlograph.tasks.runner._clock", now)
    monkeypatch.setattr("mlograph.tasks.processes.time", SimpleNamespace(perf_counter=now))


def slow_here(lower: View, upper: View, batch: Batch, here: int) -> Tensor:
    """Takes its time in the process of the run, and none in others."""
    if os.getpid() == here:
        PRETENDED[0] += 2.0
    return mse(lower, batch) + proximal(lower, upper, 2.0)


def slow_there(lower: View, upper: View, batch: Batch, here: int) -> Tensor:
    if os.getpid() != here:
        time.sleep(0.2)
    return mse(lower, batch) + proximal(lower, upper, 2.0)


def auto(loss: Any, method: Any = CG, steps: int = WINDOWS, tried: str = "auto") -> Graph:
    low = {"loss": {"_target_": loss, "here": HERE}, "unroll_steps": 2}
    return tasks(tried, method, lower=low, count=3, engine={"steps": steps})


def unequal(loss: Any, method: Any = CG, steps: int = WINDOWS) -> list[str]:
    """What is not the same to 1e-9 as one by one."""
    one = numbers(auto(loss, method, steps, tried="sequential"))
    other = numbers(auto(loss, method, steps))
    assert one.keys() == other.keys()
    return [name for name in one if not torch.allclose(one[name], other[name], rtol=0, atol=1e-9)]


def told(result: RunResult) -> list[str]:
    return [r.text for r in result.records if "loops of" in r.text]


def test_workers_are_kept_where_they_are_fastest():
    result = auto(slow_here).run(quiet=True)
    (text,) = told(result)
    number = r"\d[\d.e-]* s"
    assert re.fullmatch(
        rf"3 loops of 'lower' take {number} one by one, {number} at once, {number} in processes "
        rf"and {number} at once in processes: from here engine.execution.tasks is (processes|both)",
        text,
    )


@pytest.mark.slow
@pytest.mark.parametrize("method", [CG, "gmres", {"method": "unroll", "checkpoint": "sqrt"}])
@pytest.mark.parametrize("loss", [slow_here, slow_there])
def test_the_numbers_are_the_same_whatever_is_chosen(loss: Any, method: Any):
    assert not unequal(loss, method)


@pytest.mark.slow
def test_workers_that_are_slower_are_ended():
    program = bound(auto(slow_there))
    executor = Executor(program)
    try:
        for _ in range(WINDOWS):
            for instruction in program.plan.executed:
                executor.execute(instruction)
        (text,) = [text for text in executor.remarks if "from here" in text]
        assert text.endswith(("is sequential", "is vectorized"))
        assert " s in processes" in text and " s at once in processes" in text
        assert not children()
    finally:
        executor.close()


def children() -> list[str]:
    return Path(f"/proc/{HERE}/task/{HERE}/children").read_text().split()


# --- What workers cannot do


def unknown() -> Any:
    def local(lower: View, upper: View, batch: Batch, here: int) -> Tensor:
        return slow_here(lower, upper, batch, here)

    return local


def test_a_loss_that_no_other_process_knows_leaves_the_better_of_the_others():
    first, second = told(auto(unknown()).run(quiet=True))
    assert first.startswith(
        "the loops of 'lower' cannot run in processes: the loss of 'lower' cannot be sent to a "
        "process: "
    )
    assert first.endswith("; they run at once")
    assert second.endswith(" s at once: from here engine.execution.tasks is vectorized")


KEPT = [1.0]


def with_a_memory(lower: View, upper: View, batch: Batch, here: int) -> Tensor:
    return KEPT[0] * slow_here(lower, upper, batch, here)


@pytest.mark.slow
def test_what_a_worker_cannot_know_is_found_out():
    KEPT[0] = 3.0
    try:
        first, _ = told(auto(with_a_memory).run(quiet=True))
        assert not unequal(with_a_memory)
    finally:
        KEPT[0] = 1.0
    assert "the gradient that a worker process finds is another one than here" in first


@pytest.mark.slow
def test_what_changes_in_this_process_alone_is_found_out_in_the_windows_that_are_tried():
    program = bound(auto(with_a_memory))
    executor = Executor(program)
    KEPT[0] = 1.0
    try:
        for window in range(WINDOWS):
            KEPT[0] = 1.0 if window < 10 else 1.5
            for instruction in program.plan.executed:
                executor.execute(instruction)
        (text,) = [text for text in executor.remarks if "in processes:" in text]
        assert "another one than here" in text
    finally:
        KEPT[0] = 1.0
        executor.close()


def noisy_later(lower: View, upper: View, batch: Batch, here: int, step: int) -> Tensor:
    """Draws random numbers from the second window on that workers do, the seventh of the run."""
    if step >= 6 * 3 * 2:
        batch = (batch[0] + 0.1 * torch.randn_like(batch[0]), batch[1])
    return slow_here(lower, upper, batch, here)


@pytest.mark.slow
def test_random_numbers_are_those_of_one_by_one_even_where_they_come_late():
    assert not unequal(noisy_later)
    (text,) = [text for text in told(auto(noisy_later).run(quiet=True)) if "in processes:" in text]
    assert "losses draw random numbers, which would be others in processes; they run one" in text


def deadly(lower: View, upper: View, batch: Batch, here: int) -> Tensor:
    """A worker dies of it when it has done more windows than the choice takes."""
    if os.getpid() != here:
        CALLS[0] += 1
        if CALLS[0] > LIFE:
            os.kill(os.getpid(), signal.SIGKILL)
    return slow_here(lower, upper, batch, here)


CALLS, LIFE = [0], 60


@pytest.mark.slow
def test_workers_that_die_leave_the_run_to_the_better_of_the_others():
    first, second, third = told(auto(deadly, steps=40).run(quiet=True))
    assert first.endswith(("is processes", "is both"))
    assert re.match("the loops of 'lower' cannot run (at once )?in processes: worker ", second)
    assert "was ended by SIGKILL; the system does that where memory runs out" in second
    assert second.endswith("; they run at once")
    assert third.endswith("is vectorized")
    assert not unequal(deadly, steps=40)


# --- A run that goes on


@pytest.mark.slow
@pytest.mark.parametrize("stop", [5, 10, 15, 17])
def test_a_run_that_goes_on_finds_the_same_numbers(stop: int, tmp_path: Path):
    class Stop:
        def start(self, total: int) -> None: ...
        def log(self, record: object) -> None: ...
        def close(self) -> None: ...
        def progress(self, step: int) -> None:
            if step == stop:
                os.kill(HERE, signal.SIGINT)

    whole = auto(slow_here, steps=20).run(quiet=True)
    with pytest.raises(KeyboardInterrupt, match="go on with"):
        auto(slow_here, steps=20).run(tmp_path, [Stop()], quiet=True)
    (folder,) = tmp_path.glob("*/*")
    went_on = auto(slow_here, steps=20).resume(folder, quiet=True)
    for name, module in whole.modules.items():
        for x, y in zip(module.parameters(), went_on.modules[name].parameters(), strict=True):
            assert torch.allclose(x, y, rtol=0, atol=1e-9)
