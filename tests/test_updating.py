"""Gradients are gathered in tensors that may be written into, and their length is taken once."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import Batches, bound, graph, problem
from torch import Tensor, nn

from mlograph.problem import Problem
from mlograph.updating import accumulate, apply
from mlograph.views import View


class Pair(nn.Module):
    """Two parameters of one shape."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Parameter(torch.tensor([1.0, 2.0], dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor([3.0, 4.0], dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.a + self.b


def loss(only: View, batch: float) -> Tensor:
    return only().sum() * batch


def alone(**options: Any) -> Problem:
    """A problem of a graph of one."""
    options = {"optimizer": {"_target_": "sgd", "lr": 0.5}, "data": Batches(1.0), **options}
    return bound(graph({"only": problem(Pair(), loss, **options)})).problems["only"]


def twice(problem: Problem) -> None:
    """Writes into the gradients, as a user's hook may."""
    for param in problem.model.params.values():
        assert param.grad is not None
        param.grad.mul_(2.0)


def slopes(only: Problem) -> dict[str, Tensor]:
    """One tensor for both parameters: what autograd gives for a sum."""
    shared = torch.ones(2, dtype=torch.float64)
    return dict.fromkeys(only.model.params, shared)


def test_a_step_takes_the_gradient_as_it_is_given():
    only, given = alone(), torch.tensor([1.0, -1.0], dtype=torch.float64)
    accumulate(only, {"a": given})
    assert only.model.params["a"].grad is given
    size = apply(only)
    assert float(size) == pytest.approx(2**0.5)
    assert only.model.params["a"].tolist() == [0.5, 2.5]
    assert only.model.params["b"].tolist() == [3.0, 4.0]


def test_shares_are_added_up():
    only = alone(gradient_accumulation=2)
    for number in (1.0, 3.0):
        accumulate(only, {"a": torch.full((2,), number, dtype=torch.float64)})
    grad = only.model.params["a"].grad
    assert grad is not None
    assert grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "options",
    [
        {"callbacks": {"on_gradient": twice}},
        {"optimizer": {"_target_": "sgd", "lr": 0.5, "momentum": 0.9, "nesterov": True}},
    ],
    ids=["hook", "nesterov"],
)
def test_what_may_be_written_into_belongs_to_one_parameter(options: dict[str, Any]):
    only = alone(**options)
    given = slopes(only)
    accumulate(only, given)
    grads = [param.grad for param in only.model.params.values()]
    assert grads[0] is not grads[1]
    assert all(grad is not None and grad is not given["a"] for grad in grads)


def test_one_number_for_all_of_a_tensor_becomes_a_tensor():
    only = alone()
    accumulate(only, {"a": torch.ones((), dtype=torch.float64).expand(2)})
    grad = only.model.params["a"].grad
    assert grad is not None
    assert grad.stride() == (1,)


def test_a_hook_decides_what_the_length_is():
    only = alone(callbacks={"on_gradient": twice})
    accumulate(only, slopes(only))
    assert float(apply(only, size=torch.tensor(2.0))) == pytest.approx(4.0)


def test_a_known_length_clips():
    only = alone(gradient_clipping=1.0)
    accumulate(only, slopes(only))
    size = torch.tensor(2.0, dtype=torch.float64)
    assert apply(only, size) is size
    assert only.model.params["a"].tolist() == pytest.approx([0.75, 1.75], abs=1e-5)
