"""A graph goes on from what another run has learned."""

from pathlib import Path
from typing import Any

import pytest
import torch

import mlograph
from mlograph.checkpoints import Store
from mlograph.data import learned
from mlograph.errors import GraphError, UsageError

GRAPH = """
mlograph: 1
name: {name}
problems:
  body:
    module: {module}
    optimizer: {{_target_: sgd, lr: 0.1}}
    data:
      _target_: mlograph.data.full_batch
      dataset: {{_target_: mlograph.data.sparse_logistic, features: 3, informative: 2}}
    loss: {{_target_: mlograph.losses.binary_cross_entropy, model: body}}
engine: {{steps: {steps}}}
"""
PLAIN = "{_target_: mlograph.nn.MLP, sizes: [3, 1]}"


def run(folder: Path, name: str, module: str = PLAIN, steps: int = 3) -> Any:
    path = folder / f"{name}.yaml"
    path.write_text(GRAPH.format(name=name, module=module, steps=steps))
    return mlograph.load(path).run(folder / "runs", quiet=True)


def same(found: dict[str, torch.Tensor], module: torch.nn.Module) -> bool:
    wanted = module.state_dict()
    return found.keys() == wanted.keys() and all(torch.equal(found[n], wanted[n]) for n in wanted)


def test_parameters_are_those_that_the_run_ended_with(tmp_path: Path):
    result = run(tmp_path, "first")
    assert same(learned(str(result.directory), "body"), result.modules["body"])


def test_the_folder_of_a_graph_stands_for_its_last_run_that_ended(tmp_path: Path):
    folder = tmp_path / "runs/first"
    run(tmp_path, "first").directory.rename(folder / "2000-01-01T00-00-00-9")
    last = run(tmp_path, "first", steps=5)
    last.directory.rename(folder / "2000-01-01T00-00-00-10")
    (folder / "9999-01-01T00-00-00/checkpoints").mkdir(parents=True)
    assert same(learned(str(folder), "body"), last.modules["body"])


def test_a_module_begins_where_another_run_ended(tmp_path: Path):
    first = run(tmp_path, "first")
    weights = f"{{_target_: mlograph.data.learned, run: '{first.directory}', problem: body}}"
    module = f"{{_target_: mlograph.nn.loaded, module: {PLAIN}, weights: {weights}}}"
    second = run(tmp_path, "second", module, steps=2)
    straight = run(tmp_path, "straight", steps=5)
    for name, tensor in second.modules["body"].state_dict().items():
        torch.testing.assert_close(tensor, straight.modules["body"].state_dict()[name])


def test_where_there_is_no_run_the_graph_says_so_at_its_place(tmp_path: Path):
    weights = "{_target_: mlograph.data.learned, run: nowhere, problem: body}"
    module = f"{{_target_: mlograph.nn.loaded, module: {PLAIN}, weights: {weights}}}"
    with pytest.raises(GraphError, match="weights") as error:
        run(tmp_path, "second", module)
    assert "problems.body.module.weights" in str(error.value)
    assert "there is no run in 'nowhere'" in str(error.value)


def test_a_run_that_has_not_ended_is_refused(tmp_path: Path):
    directory = run(tmp_path, "first").directory
    store = Store(directory / "checkpoints")
    state = store.load().state
    store.save({**state, "rest": {**state["rest"], "ended": None}}, step=9, executed=999)
    with pytest.raises(UsageError, match=f"has not ended; go on with: mlograph resume {directory}"):
        learned(str(directory), "body")


def test_a_run_that_was_never_saved_is_refused(tmp_path: Path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UsageError, match="has not ended"):
        learned(str(tmp_path), "body")


def test_an_unknown_problem_gets_the_nearest_name(tmp_path: Path):
    result = run(tmp_path, "first")
    with pytest.raises(UsageError, match=r"problem: no 'bodi' in .*\(did you mean 'body'\?\)"):
        learned(str(result.directory), "bodi")
