"""BiCGSTAB as a hypergradient method."""

from __future__ import annotations

import pytest
from cases import CASES, Case, damped, inverse, quadratic, relative_error


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_converges_to_the_implicit_function_theorem(case: Case):
    found = case.hypergradient({"method": "bicgstab", "iterations": 20})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


def test_damping_is_added_to_the_hessian():
    case = quadratic()
    found = case.hypergradient({"method": "bicgstab", "iterations": 20, "damping": 2.0})
    assert relative_error(found, case.closed_form(damped(2.0))) < 1e-8
