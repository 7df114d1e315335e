"""What a plan says that a period evaluates is what it evaluates."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
import torch
from builders import graph, problem
from cases import Point, bound, numbers, positive
from torch import Tensor

from mlograph.evaluations import evaluations
from mlograph.executor import Executor
from mlograph.graph import ProblemGraph
from mlograph.language.methods.evaluations import Evaluations

COUNTS: Counter[str] = Counter()


class Counted(torch.autograd.Function):
    """x ↦ x, which counts how often it is differentiated."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        COUNTS["backward"] += 1
        return CountedSlope.apply(slope)


class CountedSlope(torch.autograd.Function):
    """The first derivative, which counts how often it is differentiated in turn."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor) -> Tensor:
        return slope.clone()

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> Tensor:
        # That pass goes on through the first derivative's own argument, and through `Counted`.
        COUNTS["second"] += 1
        COUNTS["backward"] -= 1
        return slope.clone()


A, B = 0.3 * positive(4, seed=1), 0.3 * numbers(4, 3, seed=2)


def follow(inner: Any, outer: Any) -> Tensor:
    COUNTS["forward"] += 1
    z = Counted.apply(A @ inner() + B @ outer())
    return 0.5 * z.square().sum() + z.pow(4).sum() / 12.0


def lead(inner: Any, outer: Any) -> Tensor:
    return (inner() - 1.0).square().sum() + outer().square().sum()


def counted(hypergradient: Any, **inner: Any) -> tuple[Evaluations, Evaluations]:
    """What the plan says of `inner`, and what a period takes once nothing is looked for anew."""
    declared = graph(
        {
            "outer": problem(Point(numbers(3, seed=3)), lead),
            "inner": problem(
                Point(numbers(4, seed=4)), follow, hypergradient=hypergradient, **inner
            ),
        },
        edges=[("u2l", "outer", "inner"), ("l2u", "inner", "outer")],
        engine={"of": "outer"},
    )
    program = bound(declared)
    executor = Executor(program)
    for _ in range(2):
        COUNTS.clear()
        for instruction in program.plan.period:
            executor.execute(instruction)
    said = evaluations(ProblemGraph(declared.spec), program.plan)["inner"]
    return said, Evaluations(COUNTS["forward"], COUNTS["backward"], COUNTS["second"])


EXACTLY: dict[str, dict[str, Any]] = {
    "cg": {"iterations": 2, "tol": 0.0},
    "cg, warm": {"method": "cg", "iterations": 2, "tol": 0.0, "warm_start": True},
    "cg, jacobi": {
        "method": "cg",
        "iterations": 2,
        "tol": 0.0,
        "precondition": "jacobi",
        "rank": 3,
    },
    "gmres": {"iterations": 3, "tol": 0.0},
    "bicgstab": {"iterations": 2, "tol": 0.0},
    "neumann": {"iterations": 3, "tol": 0.0},
    "neumann, fixed": {"method": "neumann", "iterations": 3, "alpha": 0.01, "tol": 0.0},
    "nystrom": {"rank": 2},
    "identity": {},
    "soba": {},
    "darts": {},
    "sama": {},
    "penalty": {"steps": 3, "rate": 0.01},
    "penalty, symmetric": {"method": "penalty", "steps": 3, "rate": 0.01, "symmetric": True},
    "es": {"samples": 2},
    "es, one side": {"method": "es", "samples": 2, "antithetic": False},
    "first_order": {},
    "fixed_point": {"iterations": 3, "tol": 0.0},
    "unroll": {},
    "unroll, last": {"method": "unroll", "truncate": 2},
    "unroll, again": {"method": "unroll", "checkpoint": "steps"},
}


@pytest.mark.parametrize("name", EXACTLY)
def test_a_period_evaluates_what_the_plan_says(name: str):
    said, done = counted({"method": name, **EXACTLY[name]}, unroll_steps=3)
    assert done == said


def test_a_dense_hessian_takes_a_product_for_each_parameter():
    said, done = counted("exact", unroll_steps=3)
    assert done == Evaluations(said.forward, said.backward, said.second + 4 * said.second_each)


def test_products_with_a_jacobian_are_derivatives_of_those_with_its_transpose():
    said, done = counted({"method": "normal_cg", "iterations": 2, "tol": 0.0}, unroll_steps=3)
    assert done.forward == said.forward
    # The derivative of a second derivative does not come by here as such.
    assert 0 < done.second <= said.second


def test_solvers_stop_earlier_where_they_are_done():
    said, done = counted({"method": "cg", "iterations": 50}, unroll_steps=3)
    assert 0 < done.second < said.second


def test_accumulated_passes_count():
    said, done = counted("unroll", unroll_steps=2, gradient_accumulation=3)
    assert done == said == Evaluations(forward=6, backward=6, second=6)
