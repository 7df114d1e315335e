"""First order: the adjoint itself, to where the loop started, and nowhere else."""

from __future__ import annotations

import pytest
from cases import (
    CASES,
    RATE,
    Case,
    Maml,
    after_loops,
    bound,
    multiple,
    numbers,
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


WITH_DIRECT_TERM = [case for case in CASES if case.closed_form(multiple(0.0)).any()]


@pytest.mark.parametrize("case", WITH_DIRECT_TERM, ids=lambda case: case.name)
def test_without_a_common_start_only_the_direct_term_is_left(case: Case):
    found = case.hypergradient("first_order")
    assert relative_error(found, case.closed_form(multiple(0.0))) < 1e-12


def test_frozen_parameters_of_the_start_get_nothing():
    maml = Maml()
    found = after_loops(bound(maml.graph("first_order", freeze="head")), "outer")
    assert relative_error(found, maml.first_order[1:]) < 1e-12
