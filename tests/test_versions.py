"""Checkpoints of other versions of mlograph: told as such, whatever is not in them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import Batches, graph, line, points, problem
from interruption import Make, end, states, training
from test_interruption import dropout, meta
from torch import nn

import mlograph
from mlograph.checkpoints import Store, read, understood, write
from mlograph.data import learned
from mlograph.errors import StorageError, UsageError

MSE = {"_target_": "mse", "model": "a"}
NOW = mlograph.__version__


def declared(module: nn.Module | None = None) -> mlograph.Graph:
    spec = {"data": Batches(points(4)), "optimizer": "adam"}
    engine = {"checkpoint": {"every": 1}}
    return graph({"a": problem(module or line(), MSE, **spec)}, steps=2, engine=engine)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    result = declared().run(tmp_path, quiet=True)
    assert result.directory is not None
    return result.directory


def newest(directory: Path) -> Path:
    return Store(directory / "checkpoints").paths()[0]


def resumed(directory: Path, state: Any, module: nn.Module | None = None) -> str:
    """What is told of a run whose newest checkpoint is `state`."""
    write(newest(directory), state)
    with pytest.raises(StorageError) as caught:
        declared(module).resume(directory, quiet=True, tell=lambda _: None)
    assert caught.value.exit_code == 4
    return str(caught.value)


def parts(state: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """All that every state has, as a mapping and a key of it."""
    _, _, _, record = next(iter(state["problems"].values()))
    for holder in (state, state["executor"], state["rest"], state["random"], record):
        yield from ((holder, key) for key in holder)


@pytest.mark.parametrize("make", [dropout, meta], ids=["data", "Env"])
def test_a_state_that_lacks_anything_is_told_as_another_versions(make: Make, tmp_path: Path):
    end(training(make, tmp_path / "checkpoints"))
    state = states(tmp_path / "checkpoints")[4]
    state["machine"]["mlograph"] = "0.0.9"
    # Where there is nobody to put it back, or to compare it with.
    mine = {"env"} if make is dropout else {"feeds", "patience", "best", "validator"}
    # What was chosen by the clock is chosen again.
    unasked = {"machine", "prefetching", *mine}
    wrong = {}
    for holder, key in [found for found in parts(state) if found[1] not in unasked]:
        kept = holder.pop(key)
        try:
            with understood(state):
                training(make).resume(state)
            wrong[key] = "nothing is told"
        except StorageError as error:
            if f"0.0.9 wrote it, this is {NOW}" not in str(error):
                wrong[key] = str(error)
        holder[key] = kept
    assert wrong == {}


def test_the_missing_part_is_named(finished: Path):
    state = read(newest(finished))
    state["machine"]["mlograph"] = "0.0.9"
    del state["executor"]["compiling"]
    assert resumed(finished, state) == (
        f"{newest(finished)}: was written by another version of mlograph: 0.0.9 wrote it, this is "
        f"{NOW}, and there is no 'compiling' in it"
    )
    del state["machine"]
    assert "one that is not known wrote it, this is" in resumed(finished, state)


@pytest.mark.parametrize("state", [[], {}, None, {"machine": 1}, {"machine": {"threads": "x"}}])
def test_what_is_no_state_at_all_is_no_traceback(finished: Path, state: Any):
    assert "was written by another version of mlograph" in resumed(finished, state)


class Touchy(nn.Linear):
    """Does not take the state that it gave."""

    def get_extra_state(self) -> Any:
        return {"x": 1}

    def set_extra_state(self, state: Any) -> None:
        state["y"]


def test_what_the_users_class_refuses_is_not_blamed_on_a_version(tmp_path: Path):
    torch.manual_seed(0)
    module = Touchy(3, 1).double()
    result = declared(module).run(tmp_path, quiet=True)
    assert result.directory is not None
    message = resumed(result.directory, read(newest(result.directory)), module)
    assert "problems.a: its state cannot be put back: KeyError: 'y' (test_versions.py:" in message
    assert "another version" not in message


def test_a_graph_that_takes_what_such_a_run_learned_says_so(finished: Path):
    state = read(newest(finished))
    del state["rest"]
    write(newest(finished), state)
    with pytest.raises(StorageError, match="there is no 'rest' in it"):
        learned(str(finished), "a")


def test_a_mistake_of_the_users_stays_one_where_the_versions_agree():
    state = {"machine": {"mlograph": NOW}}
    with pytest.raises(UsageError, match=r"^theirs$"), understood(state):
        raise UsageError("theirs")
    with pytest.raises(StorageError, match="theirs; mlograph one that is"), understood({}):
        raise UsageError("theirs")
