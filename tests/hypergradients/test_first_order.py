"""First order: the adjoint itself, to where the loop started, and nowhere else."""

from __future__ import annotations

import pytest

from tests.cases import (
    CASES,
    RATE,
    Case,
    Maml,
    after_loops,
    bound,
    multiple,
    numbers,
    quadratic,
    relative_error,
)


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_first_order_maml(weight: float, steps: int):
    maml = Maml(weight=weight, steps=steps)
    assert relative_error(maml.hypergradient("first_order"), maml.first_order) < 1e-12


def test_it_is_maml_without_curvature():
    maml = Maml(A=0 * numbers(4, 4, seed=0), steps=3)
    unrolled = maml.hypergradient("unroll")
    assert relative_error(maml.hypergradient("first_order"), unrolled) < 1e-12
    assert relative_error(unrolled, maml.u + 3 * RATE * maml.b - maml.t) < 1e-12


@pytest.mark.parametrize("case", [c for c in CASES if c.closed_form(multiple(0.0)).any()])
def test_without_a_common_start_only_the_direct_term_is_left(case: Case):
    found = case.hypergradient("first_order")
    assert relative_error(found, case.closed_form(multiple(0.0))) < 1e-12


def test_it_takes_no_second_derivative():
    # The loss has no derivative of its gradient, yet the direct term is found.
    case = quadratic()
    found = after_loops(bound(case.graph("first_order", unroll_steps=3)), "outer")
    assert relative_error(found, case.closed_form(multiple(0.0))) < 1e-12


def test_frozen_parameters_of_the_start_get_nothing():
    maml = Maml()
    graph = maml.graph("first_order")
    problems = {name: dict(spec) for name, spec in graph.spec.problems.items()}
    problems["outer"]["freeze"] = "head"
    frozen = type(graph)(problems=problems, edges=graph.spec.edges, engine={"device": "cpu"})
    found = after_loops(bound(frozen), "outer")
    assert relative_error(found, maml.first_order[1:]) < 1e-12
