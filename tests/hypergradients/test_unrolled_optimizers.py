"""Unrolling through every torch optimiser, against differences of the whole loop run again."""

from __future__ import annotations

import inspect
from typing import Any

import pytest
import torch
from builders import complaints
from cases import (
    Point,
    after_loops,
    bound,
    judged_after_loop,
    numbers,
    positive,
    relative_error,
)
from optimisers import VARIANTS
from torch import Tensor

from mlograph import Graph

A, B, TARGET = positive(4, seed=1), numbers(4, 4, seed=2), numbers(4, seed=3)
START, DIRECTION = numbers(4, seed=4), numbers(4, seed=6)
SHIFTS = numbers(3, 4, seed=5)
STEPS = 8


def curved(inner: Any, outer: Any, batch: Tensor) -> Tensor:
    """A loss whose Hessian and cross-derivative change along the loop."""
    distance = inner() - torch.tanh(B @ outer()) - batch
    couple = 0.1 * (outer() * inner().sin()).sum()
    return 0.5 * distance @ A @ distance + 0.1 * inner().pow(4).sum() + couple


def judged(inner: Any, outer: Any) -> Tensor:
    return (inner() - TARGET).square().sum() + 0.1 * outer().pow(3).sum()


def graph(u: Tensor, method: Any, optimizer: Any, **inner: Any) -> Graph:
    problem = {"optimizer": "sgd", "precision": "float64"}
    return Graph(
        problems={
            "outer": {**problem, "module": Point(u), "loss": judged},
            "inner": {
                **problem,
                "module": Point(TARGET),
                "loss": curved,
                "data": tuple(SHIFTS),
                "optimizer": optimizer,
                "unroll_steps": STEPS,
                "hypergradient": method,
                **inner,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )


def slope(optimizer: Any, **inner: Any) -> float:
    """The derivative of `judged_after_loop` along DIRECTION, from four points: off by O(h⁴)."""
    h = 1e-3

    def at(times: int) -> float:
        u = START + times * h * DIRECTION
        return judged_after_loop(graph(u, "first_order", optimizer, **inner))

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)


LOOPS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped, scheduled, accumulated, from the upper": {
        "gradient_clipping": 2.0,
        "scheduler": {"_target_": "exponential", "gamma": 0.8},
        "gradient_accumulation": 2,
        "start_from": "outer",
    },
}


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("name", VARIANTS)
def test_it_equals_finite_differences_of_torchs_own_loop(name: str, loop: str):
    kind, options = VARIANTS[name]
    optimizer = {"_target_": kind, **options}
    found = after_loops(bound(graph(START, "unroll", optimizer, **LOOPS[loop])), "outer")
    expected = slope(optimizer, **LOOPS[loop])
    assert float(found @ DIRECTION) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("name", VARIANTS)
def test_forward_mode_goes_through_it_as_well(name: str):
    kind, options = VARIANTS[name]
    loop = LOOPS["clipped, scheduled, accumulated, from the upper"]
    found, expected = (
        after_loops(bound(graph(START, m, {"_target_": kind, **options}, **loop)), "outer")
        for m in ("forward", "unroll")
    )
    assert relative_error(found, expected) < 1e-10


def warmed_up(step: int) -> float:
    return min(step, 4) / 4


@pytest.mark.parametrize("method", ["unroll", {"method": "unroll", "checkpoint": "sqrt"}])
@pytest.mark.parametrize("name", ["SGD nesterov", "Adam amsgrad", "AdamW", "NAdam", "RAdam"])
def test_a_schedule_may_begin_at_zero(name: str, method: Any):
    """torch's differentiable Adam divides by its learning rate."""
    kind, options = VARIANTS[name]
    optimizer = {"_target_": kind, **options}
    schedule = {"_target_": torch.optim.lr_scheduler.LambdaLR, "lr_lambda": warmed_up}
    found = after_loops(bound(graph(START, method, optimizer, scheduler=schedule)), "outer")
    expected = slope(optimizer, scheduler=schedule)
    assert float(found @ DIRECTION) == pytest.approx(expected, rel=1e-6)


def test_a_group_may_rest():
    optimizer = {
        "_target_": torch.optim.AdamW,
        "lr": 0.1,
        "params": [{"params": "tail", "lr": 0.0}],
    }
    found = after_loops(bound(graph(START, "unroll", optimizer)), "outer")
    assert float(found @ DIRECTION) == pytest.approx(slope(optimizer), rel=1e-6)


UNABLE = sorted(
    name
    for name, kind in vars(torch.optim).items()
    if inspect.isclass(kind)
    and name not in ("Optimizer", "LBFGS")
    and kind not in {kind for kind, _ in VARIANTS.values()}
)


def matrices(inner: Any, outer: Any) -> Tensor:
    return (inner.parameters()[0] - outer.parameters()[0]).square().sum()


@pytest.mark.parametrize("name", UNABLE)
@pytest.mark.parametrize("method", ["unroll", "sama"])
def test_where_torch_has_no_differentiable_update_it_says_so(name: str, method: str):
    made = graph(START, method, f"torch.optim.{name}", module=torch.nn.Linear(4, 4, bias=False))
    assert complaints(lambda: bound(made)) == [
        f"problems.inner.optimizer: torch cannot differentiate a step of {name} "
        f"('{method}' needs an optimiser with 'differentiable', as Adam has it)"
    ]


def test_those_without_a_differentiable_update_are_known():
    assert UNABLE == ["Adafactor", "Muon", "SparseAdam"]


def test_one_that_evaluates_the_loss_by_itself_is_refused_for_every_method():
    made = graph(START, "unroll", "torch.optim.LBFGS")
    assert complaints(lambda: bound(made)) == [
        "problems.inner.optimizer: LBFGS wants to evaluate the loss by itself (a closure)"
    ]
