"""Shares of the tasks, each at once in a worker process: the numbers of one after another."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import torch
from builders import Batch, failure
from task_graphs import CG, MOMENTUM, STEPS, differences, normalised, numbers, tasks
from torch import Tensor
from torch.nn import functional as F

from mlograph import Graph
from mlograph.losses import mse, proximal
from mlograph.views import View

HERE = os.getpid()


def asked(workers: int = 2, chunk: int | None = None) -> dict[str, Any]:
    """The execution, as part of an engine."""
    execution = {"tasks": "both", "workers": workers} | ({"chunk": chunk} if chunk else {})
    return {"steps": STEPS, "log_every": 1, "execution": execution}


def spread(*args: Any, workers: int = 2, chunk: int | None = None, **options: Any) -> Graph:
    return tasks("both", *args, engine=asked(workers, chunk), **options)


def gaps(
    *args: Any, workers: int = 2, chunk: int | None = None, **options: Any
) -> dict[str, float]:
    """What differs by more than 1e-9 from one after another."""
    return differences("both", *args, engine=asked(workers, chunk), **options)


def test_the_numbers_are_those_of_one_by_one():
    module = {"module": {"_target_": normalised}, "freeze": "layers.3.bias"}
    rich = {"optimizer": MOMENTUM, "gradient_accumulation": 2}
    assert not gaps(CG, upper=module, lower=rich | module, count=5)


METHODS: dict[str, Any] = {
    "neumann": {"method": "neumann", "iterations": 4, "alpha": 0.1},
    "exact": "exact",
    "identity": "identity",
    "unroll": {"method": "unroll", "truncate": 2},
    "first_order": "first_order",
    "darts": "darts",
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_kind_of_method(method: Any):
    adam = {"optimizer": {"_target_": "adam", "lr": 0.02}}
    assert not gaps(method, lower=adam)


SHARES: dict[str, dict[str, Any]] = {
    "more workers than tasks": {"workers": 7, "count": 2},
    "tasks that cannot be divided": {"workers": 3, "count": 7},
    "more shares than workers": {"workers": 2, "count": 7, "chunk": 2},
    "one worker": {"workers": 1, "count": 3},
}


@pytest.mark.slow
@pytest.mark.parametrize("shares", SHARES.values(), ids=SHARES)
def test_whoever_has_how_many(shares: dict[str, Any]):
    assert not gaps(**shares)


def dropped(lower: View, upper: View, batch: Batch) -> Tensor:
    return F.mse_loss(F.dropout(lower(batch[0]), 0.5), batch[1]) + proximal(lower, upper, 2.0)


@pytest.mark.slow
def test_random_numbers_are_others_and_the_same_each_time():
    one, other = (numbers(spread(lower={"loss": dropped})) for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)
    told = [r.text for r in spread(lower={"loss": dropped}).run(quiet=True).records if r.text]
    said = "random numbers in the loops of 'lower' are others in processes than one by one"
    assert told.count(said) == 1


# --- What goes wrong


def with_its_step(lower: View, upper: View, batch: Batch, step: int) -> Tensor:
    return mse(lower, batch) / (step + 1) + proximal(lower, upper, 2.0)


def test_what_cannot_be_done_at_once_is_refused():
    message = failure(lambda: spread(lower={"loss": with_its_step}).run(quiet=True))
    assert message == (
        "engine.execution.tasks: the loops of 'lower' cannot run at once in processes: the loss of "
        "'lower' asks for its step (write auto or sequential)"
    )


KEPT = [1.0]


def with_a_memory(lower: View, upper: View, batch: Batch) -> Tensor:
    return KEPT[0] * mse(lower, batch) + proximal(lower, upper, 2.0)


def test_what_a_worker_cannot_know_is_found_out():
    KEPT[0] = 3.0
    try:
        message = failure(lambda: spread(lower={"loss": with_a_memory}).run(quiet=True))
    finally:
        KEPT[0] = 1.0
    assert "cannot run at once in processes: the gradient that a worker process finds" in message


def exploding(lower: View, batch: Batch, here: int) -> Tensor:
    """Not finite in workers, for some batches."""
    bad = (batch[0].sum() > 0) if os.getpid() != here else torch.tensor(False)
    return mse(lower, batch) + torch.where(bad, float("nan"), 0.0)


@pytest.mark.slow
def test_numbers_that_are_not_finite_are_left_to_one_by_one():
    loss = {"_target_": exploding, "here": HERE}
    one = numbers(tasks("sequential", upper={"loss": loss}))
    other = numbers(spread(upper={"loss": loss}))
    assert all(torch.allclose(one[n], other[n], rtol=0, atol=1e-9) for n in one if "grad" not in n)


def talking(lower: View, upper: View, batch: Batch) -> Tensor:
    print("evaluated")
    return mse(lower, batch) + proximal(lower, upper, 2.0)


@pytest.mark.slow
def test_what_a_loss_prints_is_printed_once_a_share(capsys: pytest.CaptureFixture[str]):
    spread("first_order", lower={"loss": talking}).run(quiet=True)
    assert len(re.findall("evaluated", capsys.readouterr().out)) == STEPS * 3 * 2
