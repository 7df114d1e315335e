"""The Neumann series as a hypergradient method."""

from __future__ import annotations

import pytest
from cases import CASES, Case, damped, inverse, quadratic, relative_error, series

from mlograph.residual import Residual
from mlograph.trees import Vector


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_k_iterations_are_k_plus_one_terms(case: Case, iterations: int):
    found = case.hypergradient({"method": "neumann", "iterations": iterations, "alpha": 0.15})
    assert relative_error(found, case.closed_form(series(0.15, iterations + 1))) < 1e-10


@pytest.mark.parametrize("iterations", [1, 2, 5])
def test_k_iterations_are_k_hessian_products(iterations: int, monkeypatch: pytest.MonkeyPatch):
    taken = []

    def counted(self: Residual, vector: Vector) -> Vector:
        taken.append(vector)
        return product(self, vector)

    product = Residual.vjp
    monkeypatch.setattr(Residual, "vjp", counted)
    quadratic().hypergradient({"method": "neumann", "iterations": iterations, "alpha": 0.15})
    assert len(taken) == iterations


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_step_of_its_own_choice_converges(case: Case):
    found = case.hypergradient({"method": "neumann", "iterations": 150})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


def test_damping_is_added_to_the_hessian():
    case = quadratic()
    found = case.hypergradient({"method": "neumann", "iterations": 150, "damping": 2.0})
    assert relative_error(found, case.closed_form(damped(2.0))) < 1e-8
