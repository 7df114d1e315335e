"""GMRES as a hypergradient method."""

from __future__ import annotations

from typing import Any

import pytest
from cases import CASES, Case, damped, inverse, least_residual, quadratic, relative_error


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_as_many_iterations_as_parameters_are_exact(case: Case):
    found = case.hypergradient({"method": "gmres", "iterations": 5})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


@pytest.mark.parametrize("iterations", [1, 2, 3])
# Few iterations are no linear map, so a Hessian that is made of such solves has no closed form.
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.partial or not c.nested], ids=lambda case: case.name
)
def test_fewer_leave_the_least_residual_of_the_krylov_space(case: Case, iterations: int):
    found = case.hypergradient({"method": "gmres", "iterations": iterations})
    assert relative_error(found, case.closed_form(least_residual(iterations))) < 1e-10
    assert relative_error(found, case.closed_form(inverse)) > 1e-6


@pytest.mark.parametrize("method", ["cg", "gmres", "bicgstab"])
@pytest.mark.parametrize(
    "options",
    [
        {"precondition": "jacobi"},
        {"precondition": "jacobi", "rank": 2},
        {"precondition": "nystrom", "rank": 2, "rho": 0.1},
    ],
    ids=["exact diagonal", "estimated diagonal", "low rank"],
)
def test_a_preconditioner_does_not_change_the_solution(method: str, options: dict[str, Any]):
    case = quadratic()
    found = case.hypergradient({"method": method, "iterations": 30, "damping": 2.0, **options})
    assert relative_error(found, case.closed_form(damped(2.0))) < 1e-8


@pytest.mark.parametrize("method", ["cg", "gmres", "bicgstab"])
def test_a_whole_low_rank_preconditioner_leaves_little_to_do(method: str):
    case = quadratic()
    options = {"precondition": "nystrom", "rank": 4, "rho": 1e-9}
    found = case.hypergradient({"method": method, "iterations": 1, **options})
    assert relative_error(found, case.closed_form(inverse)) < 1e-6
