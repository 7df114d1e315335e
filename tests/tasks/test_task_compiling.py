"""Worker processes run compiled code where the run is asked to compile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from builders import Batch, bound
from task_graphs import CG, numbers, tasks
from torch import Tensor

from mlograph import Graph
from mlograph.executor import Executor
from mlograph.losses import mse, proximal
from mlograph.views import View

PLAIN = "the loss below is evaluated by Python"


@pytest.fixture(autouse=True)
def one_thread():
    """Workers have one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def audible(lower: View, upper: View, batch: Batch) -> Tensor:
    """Tells when Python evaluates it; what is compiled does not."""
    if not torch.compiler.is_compiling():
        print(PLAIN)
    return mse(lower, batch) + proximal(lower, upper, 2.0)


def spread(method: Any, compile: str, steps: int = 3) -> Graph:
    execution = {"tasks": "processes", "workers": 2, "compile": compile}
    engine = {"steps": steps, "execution": execution}
    return tasks("processes", method, lower={"loss": audible}, engine=engine)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "regions"),
    [
        pytest.param(CG, {"the gradient of 'lower'", "the gradient of 'lower' with its products"}),
        pytest.param("unroll", {"the gradient of 'lower' with its products"}),
    ],
)
def test_workers_run_compiled_code_and_find_the_same_numbers(
    method: Any,
    regions: set[str],
    cache: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    expected = numbers(tasks("sequential", method, lower={"loss": audible}))
    capsys.readouterr()
    spread(method, "on", steps=1).run(quiet=True)
    at_first = capsys.readouterr().out.count(PLAIN)
    result = spread(method, "on").run(quiet=True)
    assert capsys.readouterr().out.count(PLAIN) == at_first > 0
    told = [record.text for record in result.records if "in a worker process, " in record.text]
    assert {text.partition("process, ")[2].partition(" is compiled")[0] for text in told} == {
        *regions,
        "the gradient of 'upper'",
    }
    found = numbers(spread(method, "on"))
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_a_worker_finds_out_what_is_not_worth_it():
    result = spread("unroll", "auto").run(quiet=True)
    (told,) = [record.text for record in result.records if " is not compiled: " in record.text]
    assert told.startswith("in a worker process, the gradient of 'lower' with its products is not")


@pytest.mark.slow
def test_all_workers_do_what_was_chosen(
    cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """One of them in the last window, or an interrupted run before this one."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(cache))
    # Before any worker has seen enough to choose for itself.
    alone, program = (bound(spread("unroll", "auto")) for _ in range(2))
    first, executor = Executor(alone), Executor(program)
    for instruction in alone.plan.period:
        first.execute(instruction)
    (key,) = alone.compiling.shortcuts["lower"].choices
    program.compiling.adopt({"lower": {key: "compiled"}})
    capsys.readouterr()

    def evaluated() -> int:
        for instruction in program.plan.executed:
            executor.execute(instruction)
        return capsys.readouterr().out.count(PLAIN)

    try:
        assert evaluated() > 0, "to compare with what is compiled"
        assert evaluated() == 0
    finally:
        executor.close()
