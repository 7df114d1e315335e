"""Whole runs: against plain loops, twice over, ended whatever happens, and saved."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import (
    Batch,
    Batches,
    failure,
    line,
    pair,
    points,
    problem,
    weights,
)
from single_run import Diary, alone, trained
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, mse_loss
from torch.optim import SGD, Adam
from torch.utils.data import DataLoader, TensorDataset

import mlograph
from mlograph.checkpoints import Store
from mlograph.errors import UsageError
from mlograph.loggers.memory import Memory
from mlograph.result import RunResult
from mlograph.snapshot import problems_of
from mlograph.views import View

ADAM = {"_target_": "adam", "lr": 0.05}


def close(left: list[Tensor], right: Any) -> bool:
    """Equal to 1e-10."""
    return all(torch.allclose(a, b, rtol=0, atol=1e-10) for a, b in zip(left, right, strict=True))


# --- Against plain loops


def test_a_single_problem_is_a_plain_training_loop():
    batches = [points(seed=n) for n in range(3)]
    module = line()
    optimizer = Adam(module.parameters(), lr=0.05)
    for x, y in itertools.islice(itertools.cycle(batches), 10):
        optimizer.zero_grad()
        mse_loss(module(x), y).backward()
        optimizer.step()
    result = trained(alone(optimizer=ADAM, data=Batches(*batches), steps=10))
    assert close(weights(result, "a"), module.parameters())


class Tasks:
    """An Env of ready regression tasks, drawn in order."""

    batches = ("support", "query")

    def __init__(self, first: int = 0) -> None:
        self.next = first

    def step(self) -> Mapping[str, Batch]:
        self.next += 1
        x, y = points(12, seed=self.next)
        return {"support": (x[:6], y[:6]), "query": (x[6:], y[6:])}

    def state_dict(self) -> dict[str, Any]:
        return {"next": self.next}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.next = state["next"]


def network() -> nn.Sequential:
    return nn.Sequential(line(3, 4, seed=1), nn.Tanh(), line(4, 1, seed=2))


INNER = {"_target_": "mse", "model": "lower"}


def meta(method: str) -> mlograph.Graph:
    """MAML: two tasks to an update, three steps to a task."""
    upper = problem(network(), INNER, optimizer=ADAM, data="env.query", gradient_accumulation=2)
    lower = problem(
        {"copy": "upper"},
        INNER,
        start_from="upper",
        data="env.support",
        unroll_steps=3,
        hypergradient=method,
    )
    return pair(upper, lower, env=Tasks, steps=4)


def error_at(module: nn.Module, params: dict[str, Tensor], batch: Batch) -> Tensor:
    return mse_loss(functional_call(module, params, batch[0]), batch[1])


def meta_by_hand(*, second_order: bool) -> list[Tensor]:
    module, env = network(), Tasks()
    optimizer = Adam(module.parameters(), lr=0.05)
    for _ in range(4):
        optimizer.zero_grad()
        for _ in range(2):
            task = env.step()
            params = dict(module.named_parameters())
            for _ in range(3):
                loss = error_at(module, params, task["support"])
                grads = torch.autograd.grad(loss, params.values(), create_graph=second_order)
                params = {
                    name: p - 0.1 * g for (name, p), g in zip(params.items(), grads, strict=True)
                }
            (error_at(module, params, task["query"]) / 2).backward()
        optimizer.step()
    return [p.detach() for p in module.parameters()]


def test_maml_is_the_loop_that_differentiates_through_its_steps():
    assert close(weights(trained(meta("unroll")), "upper"), meta_by_hand(second_order=True))


def test_first_order_maml_is_the_loop_that_does_not():
    expected = meta_by_hand(second_order=False)
    assert close(weights(trained(meta("first_order")), "upper"), expected)
    assert not close(expected, meta_by_hand(second_order=True))


def labelled(number: int, seed: int) -> Batch:
    x, _ = points(number, seed=seed)
    return x, (x.sum(1) > 0).long()


def reweighted(lower: View, upper: View, batch: Batch) -> Tensor:
    x, y = batch
    each = cross_entropy(lower(x), y, reduction="none")
    return (torch.sigmoid(upper(each.detach()[:, None])).squeeze(1) * each).mean()


def clean(lower: View, batch: Batch) -> Tensor:
    return cross_entropy(lower(batch[0]), batch[1])


def test_learning_to_reweight_is_the_loop_of_central_differences():
    noisy, trusted = labelled(16, seed=5), labelled(8, seed=6)
    declared = pair(
        problem(line(1, 1, seed=3), clean, optimizer=ADAM, data=Batches(trusted)),
        problem(line(3, 2, seed=4), reweighted, data=Batches(noisy), hypergradient="darts"),
        steps=6,
    )
    result = trained(declared)
    weigher, classifier = line(1, 1, seed=3), line(3, 2, seed=4)
    upper, lower = Adam(weigher.parameters(), lr=0.05), SGD(classifier.parameters(), lr=0.1)
    ours = list(weigher.parameters())
    for _ in range(6):
        lower.zero_grad()
        reweighted(classifier, weigher, noisy).backward()
        lower.step()
        params = list(classifier.parameters())
        v = torch.autograd.grad(clean(classifier, trusted), params)
        epsilon = 0.01 / torch.cat([g.flatten() for g in v]).norm()
        found = []
        for sign in (1, -1):
            moved = {
                name: p + sign * epsilon * g
                for (name, p), g in zip(classifier.named_parameters(), v, strict=True)
            }
            at = partial(functional_call, classifier, moved)
            found.append(torch.autograd.grad(reweighted(at, weigher, noisy), ours))
        upper.zero_grad()
        for p, ahead, behind in zip(ours, *found, strict=True):
            p.grad = -(ahead - behind) / (2 * epsilon)
        upper.step()
    assert close(weights(result, "upper"), weigher.parameters())
    assert close(weights(result, "lower"), classifier.parameters())


# --- Twice over


class Dropping(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))


def random_run(seed: int) -> RunResult:
    """Everything random that a run has: weights, shuffling, dropout, and users' own numbers."""

    def loss(a: View, batch: Batch) -> Tensor:
        x, y = batch
        return mse_loss(a(x), y) * (1 + random.random() + float(np.random.rand()))

    data = DataLoader(TensorDataset(*points(16)), batch_size=4, shuffle=True)
    return trained(alone(loss, module=Dropping, data=data, steps=9, engine={"seed": seed}))


def test_runs_of_one_seed_are_bit_identical_and_of_another_are_not():
    one, again, other = (weights(random_run(seed), "a") for seed in (1, 1, 2))
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(one, other, strict=True))


# --- Ends


def fails_late(a: View, batch: Batch, step: int) -> Tensor:
    if step == 2:
        raise ValueError("too late")
    return mse_loss(a(batch[0]), batch[1])


@pytest.mark.parametrize(
    "declared",
    [
        pytest.param(lambda: alone(fails_late), id="while running"),
        pytest.param(lambda: alone(optimizer="torch.optim.Adm"), id="while binding"),
        pytest.param(lambda: alone(engine={"validate": nn.Identity()}), id="validator"),
    ],
)
def test_loggers_are_closed_once_whatever_happens(declared: Any):
    diaries = Diary(), Diary()
    failure(lambda: trained(declared(), *diaries))
    assert [diary.closed for diary in diaries] == [1, 1]
    assert diaries[0].entries[-1] == "close"


def test_a_logger_that_cannot_be_closed_does_not_keep_others_open():
    class Stuck(Diary):
        def close(self) -> None:
            raise UsageError("stuck")

    diaries = Diary(), Stuck(), Diary()
    assert failure(lambda: trained(alone(), *diaries)) == "stuck"
    assert (diaries[0].closed, diaries[2].closed) == (1, 1)


# --- Results and checkpoints


def test_a_result_holds_what_was_logged_and_the_trained_modules():
    module, memory = line(), Memory()
    result = trained(alone(module=module, steps=3), memory)
    assert (result.name, result.steps, result.ended) == ("graph", 3, "all steps made")
    assert result.records == memory.records
    assert result.modules["a"] is module
    assert result.seconds > 0
    assert result.directory is None
    assert result.last() == memory.records[-1].values
    assert result.last("validation") == {}


def test_the_counted_problem_may_be_a_lower_one():
    declared = pair(
        problem(line(3, 2), clean, data=Batches(labelled(4, seed=1))),
        problem({"copy": "upper"}, near, unroll_steps=4),
        steps=6,
        engine={"of": "lower"},
    )
    memory = Memory()
    result = trained(declared, memory)
    assert (result.steps, memory.total, memory.step) == (6, 6, 6)


def near(lower: View, upper: View) -> Tensor:
    return mlograph.losses.proximal(lower, upper)


def test_the_first_and_the_last_state_are_saved(tmp_path: Path):
    result = alone(optimizer=ADAM, steps=3).run(tmp_path, quiet=True)
    assert result.directory is not None
    store = Store(result.directory / "checkpoints")
    assert [path.name for path in store.paths()] == [
        "step-00000003-0000000003.ckpt",
        "step-00000001-0000000001.ckpt",
    ]
    found = store.load()
    assert found is not None
    state = problems_of(found.state)["a"]
    module = line()
    module.load_state_dict(state.tensors)
    assert close(weights(result, "a"), module.parameters())
    assert state.updates == 3
    assert {int(one["step"]) for one in state.optimizer["state"].values()} == {3}


def test_a_run_reads_no_more_data_than_it_uses():
    def endless() -> Iterator[Batch]:
        while True:
            yield points()

    data = Batches(*itertools.islice(endless(), 100))
    trained(alone(data=data, steps=7))
    assert data.read == 7
