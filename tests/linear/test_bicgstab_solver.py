"""Stabilised biconjugate gradients."""

from __future__ import annotations

import pytest
import torch
from cases import inverse, relative_error
from solver_cases import SKEWED, A, B, Counted, true_residual, value, vector

from mlograph.linear import Status, bicgstab, jacobi


def minimal_step(matrix: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """One iteration: a step of biconjugate gradients, then one of least residual."""
    alpha = b @ b / (b @ matrix @ b)
    s = b - alpha * matrix @ b
    t = matrix @ s
    return alpha * b + (t @ s) / (t @ t) * s


def test_one_iteration_is_a_biconjugate_step_and_one_of_least_residual():
    matrix = A + 0.2 * (SKEWED - A)
    matvec = Counted(matrix)
    found = bicgstab(matvec, vector(B), iterations=1, tol=0.0)
    assert found.iterations == matvec.calls == 2
    assert relative_error(value(found), minimal_step(matrix, B)) < 1e-12


def test_it_needs_two_products_for_each_unknown_at_most():
    found = bicgstab(Counted(SKEWED), vector(B), iterations=50, tol=1e-8)
    assert found.status is Status.CONVERGED
    assert found.iterations <= 14


def test_a_skew_symmetric_matrix_breaks_it_down_at_once():
    skew = SKEWED - SKEWED.T
    found = bicgstab(Counted(skew), vector(B), iterations=50, tol=1e-8)
    assert (found.status, found.iterations) == (Status.BREAKDOWN, 1)
    assert not value(found).any()


def test_the_best_iterate_is_returned():
    # The first iteration leads away: no step at all is better.
    assert float((B - SKEWED @ minimal_step(SKEWED, B)).norm() / B.norm()) > 1.0
    found = bicgstab(Counted(SKEWED), vector(B), iterations=1, tol=0.0)
    assert found.residual == pytest.approx(1.0)
    assert not value(found).any()


def test_with_a_preconditioner_it_solves_the_same_system():
    matvec = Counted(A)
    precondition = jacobi(matvec, vector(B), probes=6)
    found = bicgstab(matvec, vector(B), iterations=30, tol=1e-12, precondition=precondition)
    assert found.status is Status.CONVERGED
    assert found.iterations == matvec.calls
    assert found.residual == pytest.approx(true_residual(A, B, found), abs=1e-12)
    assert relative_error(value(found), inverse(A, B)) < 1e-10
