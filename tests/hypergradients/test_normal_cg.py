"""Conjugate gradients on the normal equations as a hypergradient method."""

from __future__ import annotations

import pytest
from cases import CASES, Case, damped, inverse, normal, quadratic, relative_error


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_as_many_iterations_as_parameters_are_exact(case: Case):
    found = case.hypergradient({"method": "normal_cg", "iterations": 8})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


@pytest.mark.parametrize("iterations", [1, 2, 3])
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.partial or not c.nested], ids=lambda case: case.name
)
def test_fewer_leave_the_least_residual_of_their_space(case: Case, iterations: int):
    found = case.hypergradient({"method": "normal_cg", "iterations": iterations})
    assert relative_error(found, case.closed_form(normal(iterations))) < 1e-10


def test_damping_is_added_to_the_hessian():
    case = quadratic()
    found = case.hypergradient({"method": "normal_cg", "iterations": 8, "damping": 2.0})
    assert relative_error(found, case.closed_form(damped(2.0))) < 1e-8
