"""Whether worker processes are worth being started."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import Batch, bound
from task_graphs import judge, tasks
from torch import Tensor, nn

from mlograph.compiling import Choice
from mlograph.plan import Tasks
from mlograph.program import Program
from mlograph.tasks import worth
from mlograph.views import View


def made(**options: Any) -> tuple[Tasks, Program]:
    program = bound(tasks("auto", **options))
    (window,) = program.plan.tasks
    assert isinstance(window, Tasks)
    return window, program


def steps(number: int, **execution: Any) -> dict[str, Any]:
    return {"engine": {"steps": number, "execution": {"tasks": "auto", **execution}}}


@pytest.fixture(autouse=True)
def two_cores(monkeypatch: pytest.MonkeyPatch):
    """Whatever machine the test runs on."""
    for module in ("worth", "distribution"):
        monkeypatch.setattr(f"mlograph.tasks.{module}.cores", lambda: 2)


@pytest.fixture(autouse=True)
def memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of what a system tells of its memory: 100 GB are free, and there is no limit."""
    (tmp_path / "meminfo").write_text("MemTotal: 200000000 kB\nMemAvailable: 100000000 kB\n")
    monkeypatch.setattr(worth, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setattr(worth, "_LIMITS", tmp_path)
    return tmp_path


def test_they_are_worth_it_where_more_than_a_minute_is_left():
    window, program = made(**steps(100))
    assert not worth.against(window, program, 60.1 / 99)
    said = "the rest of the run takes about 30 s without them"
    assert worth.against(window, program, 30 / 99) == said
    program.problems["upper"].updates = 50
    assert worth.against(window, program, 60.1 / 99) == said


def test_the_warm_up_of_the_problem_above_counts_with_its_updates():
    window, program = made(**steps(100), upper={"warmup_steps": 40})
    program.problems["upper"].updates = 40
    assert not worth.against(window, program, 60.1 / 99)


def test_what_workers_compile_must_be_worth_it_as_well():
    window, program = made(**steps(100, compile="auto"))
    assert not worth.against(window, program, 6.0)
    program.compiling.shortcuts["lower"].choices["gradient"] = Choice("compiled")
    assert worth.against(window, program, 6.0) == (
        "the rest of the run takes about 5.9e+02 s without them"
    )
    assert not worth.against(window, program, 6.1)


def test_memory_that_is_not_there_is_not_asked_for(memory: Path):
    window, program = made(**steps(10**6))
    (memory / "meminfo").write_text("MemAvailable: 1000 kB\n")
    reason = worth.against(window, program, 1.0)
    assert reason.startswith("2 may need ") and reason.endswith(" GB are free")


def test_a_container_has_less_memory_than_its_machine(memory: Path):
    window, program = made(**steps(10**6))
    (memory / "memory.max").write_text("4000000000000\n")
    (memory / "memory.current").write_text("3999999999000\n")
    (memory / "memory.stat").write_text("anon 5\ninactive_file 500\n")
    assert worth.against(window, program, 1.0).endswith(" and 1.5e-06 GB are free")
    (memory / "memory.max").write_text("max\n")
    assert not worth.against(window, program, 1.0)


def test_where_nothing_is_known_of_the_memory_it_is_taken_to_be_there(memory: Path):
    (memory / "meminfo").unlink()
    window, program = made(**steps(10**6))
    assert not worth.against(window, program, 1.0)


def test_it_takes_several_cores(monkeypatch: pytest.MonkeyPatch):
    assert worth.possible(*made())
    monkeypatch.setattr(worth, "cores", lambda: 1)
    assert not worth.possible(*made(**steps(10, workers=2)))


def normalised() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)).double()


def of_both(lower: View, upper: View, batch: Batch) -> Tensor:
    return judge(lower, batch) + judge(upper, batch)


def test_what_workers_cannot_do_at_all_is_not_tried():
    parts: dict[str, dict[str, Any]] = {
        "lower": {"module": normalised()},
        "upper": {"module": normalised()},
    }
    assert worth.possible(*made(**parts))
    parts["upper"]["loss"] = of_both
    assert not worth.possible(*made(**parts))
