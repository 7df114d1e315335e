"""Everything that a problem is, taken and put back."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import Batches, bound, graph, points, problem
from torch import Tensor, nn

from mlograph.executor import Executor
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.state import capture, preserved, restore
from mlograph.views import View


class Counting(nn.Module):
    """A network with all kinds of buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1))
        self.register_buffer("calls", torch.zeros(()), persistent=False)

    def get_extra_state(self) -> object:
        return {"anything": "at all"}

    def set_extra_state(self, state: object) -> None: ...

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        out: Tensor = self.layers(x)
        return out


def loss(a: View, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.mse_loss(a(batch[0]), batch[1])


def program(**changes: Any) -> Program:
    """One problem with a moving optimiser, a schedule and a scaler, half-way in its window."""
    spec = {
        "optimizer": {"_target_": "adam", "lr": 0.1},
        "scheduler": {"_target_": "step", "step_size": 1, "gamma": 0.5},
        "gradient_accumulation": 2,
        "data": Batches(tuple(x.float() for x in points())),
        **changes,
    }
    torch.manual_seed(0)
    found = bound(graph({"a": problem(Counting(), loss, **spec)}, steps=9))
    advance(found, 3)
    return found


def advance(found: Program, instructions: int) -> None:
    executor = Executor(found)
    period = found.plan.period
    for index in range(instructions):
        executor.execute(period[index % len(period)])
    executor.execute(period[0])


def everything(one: Problem) -> list[Any]:
    """All that can be seen of a problem, as plain values."""
    grads = [None if p.grad is None else p.grad.tolist() for p in one.model.params.values()]
    scale = one.scaler.get_scale() if one.scaler is not None else None
    return [
        {name: x.tolist() for name, x in one.model.tensors().items()},
        grads,
        str(one.optimizer.state_dict()),
        str(one.learning_rate.state_dict()),
        one.updates,
        id(one.moment),
        scale,
    ]


@pytest.mark.parametrize("precision", ["float64", "fp16"])
def test_what_happens_inside_is_undone(precision: str):
    found = program(precision=precision)
    one = found.problems["a"]
    before = everything(one)
    assert before[1] != [None] * 4
    with preserved([one]):
        advance(found, 6)
        if one.scaler is not None:
            one.scaler.update(2.0)
        now = everything(one)
        assert all(a != b for a, b in zip(before[:6], now[:6], strict=True))
    assert everything(one) == before


def test_it_is_undone_after_an_error_too():
    found = program()
    one = found.problems["a"]
    before = everything(one)
    with pytest.raises(KeyError), preserved([one]):
        advance(found, 6)
        raise KeyError
    assert everything(one) == before


def test_tensors_keep_their_identity():
    found = program()
    one = found.problems["a"]
    tensors = list(one.model.module.parameters())
    state = capture(one)
    advance(found, 6)
    restore(one, state)
    assert all(a is b for a, b in zip(tensors, one.model.module.parameters(), strict=True))
    (group,) = one.optimizer.param_groups
    assert all(a is b for a, b in zip(tensors, group["params"], strict=True))


def test_a_state_can_be_put_back_more_than_once():
    found = program()
    one = found.problems["a"]
    state, before = capture(one), everything(one)
    for _ in range(2):
        advance(found, 6)
        restore(one, state)
        assert everything(one) == before


def test_a_problem_goes_on_as_if_nothing_had_happened():
    straight, disturbed = program(), program()
    with preserved(disturbed.problems.values()):
        advance(disturbed, 6)
    for one in (straight, disturbed):
        advance(one, 6)
    ours, theirs = (one.problems["a"].model.tensors() for one in (straight, disturbed))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
