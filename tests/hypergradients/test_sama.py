"""SAMA: one step of the optimiser, as torch makes it, for the inverse Hessian."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import Case, after_loops, backward, bound, multiple, numbers, positive, relative_error
from torch import Tensor, nn
from torch.optim import Optimizer

from mlograph.errors import NumericError
from mlograph.executor import Executor
from mlograph.problem import gradients_by_owner
from mlograph.program import Program
from mlograph.state import preserved

A, B, TARGET = positive(4, seed=1), numbers(4, 3, seed=2), numbers(4, seed=3)
POINT, U = numbers(4, seed=4), numbers(3, seed=5)
EXACT = {"method": "sama", "epsilon": 1e-4}


def inner_loss(inner: Any, outer: Any) -> Tensor:
    """∂²L/∂x∂u = −B diag(1 − tanh² u) − x² (u, 0)ᵀ …: it moves with x, and so does the Hessian."""
    push = B @ torch.tanh(outer()) + 0.2 * inner().square() * outer().sum()
    return 0.5 * inner() @ A @ inner() + 0.1 * inner().pow(4).sum() - inner() @ push


def outer_loss(inner: Any) -> Tensor:
    return 0.5 * (inner() - TARGET).square().sum()


def program(kind: type[Optimizer], steps: int = 1, method: Any = EXACT, **options: Any) -> Program:
    """The graph with another optimiser, after `steps` steps of the inner problem."""
    losses = {"outer": outer_loss, "inner": inner_loss}
    edges = ("u2l: outer -> inner", "l2u: inner -> outer")
    case = Case("", "outer", {"outer": U, "inner": POINT}, losses, edges, multiple)
    made = bound(case.graph(method, unroll_steps=steps))
    inner = made.problems["inner"]
    head, tail = inner.model.params.values()
    slower = options.pop("tail", {})
    inner.optimizer = kind([{"params": [head]}, {"params": [tail], **slower}], **options)
    return made


def in_a_row(vectors: dict[str, Tensor]) -> Tensor:
    return torch.cat([vector.detach().reshape(-1) for vector in vectors.values()])


def gradient(made: Program) -> Tensor:
    """∂L/∂x of the inner problem where it stands."""
    inner = made.problems["inner"]
    evaluation = inner.evaluate(inner.views(), inner.next_moment())
    return in_a_row(gradients_by_owner(evaluation.loss, {"inner": inner.model.params})["inner"])


def cross(made: Program, direction: Tensor) -> Tensor:
    """−(∂²L/∂u∂x) · direction, by autograd."""
    x = made.problems["inner"].model.module().detach().requires_grad_()
    u = U.clone().requires_grad_()
    (slope,) = torch.autograd.grad(inner_loss(lambda: x, lambda: u), x, create_graph=True)
    return -torch.autograd.grad(slope, u, direction)[0]


def state(made: Program, key: str) -> Tensor:
    """An entry of the optimiser's state, for all parameters in a row."""
    inner = made.problems["inner"]
    entries = {n: inner.optimizer.state[p][key] for n, p in inner.model.params.items()}
    return in_a_row(entries)


def adjoint(made: Program) -> Tensor:
    return made.problems["inner"].model.module().detach() - TARGET


SGD: dict[str, tuple[dict[str, Any], float]] = {
    "plain": ({}, 1.0),
    "weight decay": ({"weight_decay": 0.3}, 1.0),
    "momentum": ({"momentum": 0.9}, 1.0),
    "dampening": ({"momentum": 0.9, "dampening": 0.4}, 0.6),
    "nesterov": ({"momentum": 0.9, "nesterov": True}, 1.9),
    "maximize": ({"maximize": True}, -1.0),
}


@pytest.mark.parametrize("name", SGD)
@pytest.mark.parametrize("steps", [1, 3])
def test_sgd_makes_a_multiple_of_the_adjoint(name: str, steps: int):
    options, factor = SGD[name]
    made = program(torch.optim.SGD, steps, lr=0.05, **options)
    found = after_loops(made, "outer")
    expected = cross(made, 0.05 * factor * adjoint(made))
    assert relative_error(found, expected) < 1e-7


@pytest.mark.parametrize("weight_decay", [0.0, 0.2])
@pytest.mark.parametrize("steps", [1, 2, 30])
def test_adam_by_hand(steps: int, weight_decay: float):
    """m' = β₁m + (1−β₁)g, v' = β₂v + (1−β₂)g², and θ' = θ − lr·m̂/(√v̂ + ε), each entry alone."""
    made = program(torch.optim.Adam, steps, lr=0.05, weight_decay=weight_decay)
    found = after_loops(made, "outer")
    b1, b2, t = 0.9, 0.999, steps + 1
    g = gradient(made) + weight_decay * made.problems["inner"].model.module().detach()
    m = (b1 * state(made, "exp_avg") + (1 - b1) * g) / (1 - b1**t)
    root = ((b2 * state(made, "exp_avg_sq") + (1 - b2) * g * g) / (1 - b2**t)).sqrt()
    m_slope, root_slope = (1 - b1) / (1 - b1**t), (1 - b2) * g / ((1 - b2**t) * root)
    jacobian = 0.05 * (m_slope - m * root_slope / (root + 1e-8)) / (root + 1e-8)
    expected = cross(made, jacobian * adjoint(made))
    assert relative_error(found, expected) < 1e-7


OPTIMISERS: dict[str, tuple[type[Optimizer], dict[str, Any]]] = {
    "SGD": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1}),
    "Adam": (torch.optim.Adam, {"lr": 0.1, "tail": {"lr": 0.03}}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.1, "amsgrad": True}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.1, "centered": True}),
    "NAdam": (torch.optim.NAdam, {"lr": 0.1}),
    "Adagrad": (torch.optim.Adagrad, {"lr": 0.1}),
}


def one_more_step(made: Program, u: Tensor, largest: float | None) -> Tensor:
    """Where the inner problem's own optimiser would step to, were the outer problem at u."""
    inner, outer = made.problems["inner"], made.problems["outer"]
    with preserved([inner, outer]):
        with torch.no_grad():
            for param, value in zip(outer.model.params.values(), (u[:1], u[1:]), strict=True):
                param.copy_(value)
        inner.evaluate(inner.views(), inner.next_moment()).loss.backward()
        if largest is not None:
            nn.utils.clip_grad_norm_(inner.model.params.values(), largest)
        inner.optimizer.step()
        return inner.model.module().detach()


@pytest.mark.parametrize("largest", [None, 0.5])
@pytest.mark.parametrize("name", OPTIMISERS)
def test_it_is_the_derivative_of_one_more_step(name: str, largest: float | None):
    kind, options = OPTIMISERS[name]
    made = program(kind, steps=4, **options)
    inner = made.problems["inner"]
    inner.spec = inner.spec.model_copy(update={"gradient_clipping": largest})
    found = after_loops(made, "outer")
    one_more_step(made, U, largest)  # torch's loading of a state may change its precision, once
    v, h = adjoint(made), 1e-5
    ways = [
        one_more_step(made, U + e, largest) - one_more_step(made, U - e, largest)
        for e in h * torch.eye(3, dtype=torch.float64)
    ]
    expected = torch.stack([v @ way for way in ways]) / (2 * h)
    assert relative_error(found, expected) < 1e-6


def test_a_loss_without_own_parameters_is_an_error_that_names_the_edge():
    losses = {"outer": outer_loss, "inner": lambda outer: outer().square().sum()}
    edges = ("u2l: outer -> inner", "l2u: inner -> outer")
    case = Case("", "outer", {"outer": U, "inner": POINT}, losses, edges, multiple)
    made = bound(case.graph("sama"))
    made.problems["inner"].next_moment()
    with pytest.raises(NumericError, match="the edge 'outer -> inner' has no effect"):
        backward(Executor(made), made, "outer")
