"""Generalised minimal residuals."""

from __future__ import annotations

import pytest
import torch
from cases import inverse, least_residual, numbers, relative_error
from solver_cases import SKEWED, B, Counted, true_residual, value, vector

from mlograph.linear import Status, gmres, jacobi


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_k_iterations_leave_the_least_residual_of_the_krylov_space(iterations: int):
    matvec = Counted(SKEWED)
    found = gmres(matvec, vector(B), iterations=iterations, restart=20, tol=0.0)
    assert found.status is Status.MAX_ITERATIONS
    assert found.iterations == matvec.calls == iterations
    assert relative_error(value(found), least_residual(iterations)(SKEWED, B)) < 1e-10


def test_it_converges_in_as_many_iterations_as_unknowns():
    found = gmres(Counted(SKEWED), vector(B), iterations=50, restart=50, tol=1e-10)
    assert (found.status, found.iterations) == (Status.CONVERGED, 6)


def test_without_a_tolerance_it_ends_where_the_space_does():
    found = gmres(Counted(SKEWED), vector(B), iterations=50, restart=50, tol=0.0)
    assert (found.status, found.iterations) == (Status.CONVERGED, 6)
    assert relative_error(value(found), inverse(SKEWED, B)) < 1e-12


def test_a_new_round_goes_on_from_the_last():
    matvec = Counted(SKEWED)
    found = gmres(matvec, vector(B), iterations=4, restart=2, tol=0.0)
    first = least_residual(2)(SKEWED, B)
    expected = first + least_residual(2)(SKEWED, B - SKEWED @ first)
    assert found.iterations == matvec.calls == 4
    assert relative_error(value(found), expected) < 1e-10


def test_rounds_that_gain_nothing_end_it():
    # A shift: until the space is everything, b is orthogonal to its image.
    shift = torch.eye(6, dtype=torch.float64).roll(1, dims=0)
    b = torch.zeros(6, dtype=torch.float64)
    b[0] = 1.0
    found = gmres(Counted(shift), vector(b), iterations=60, restart=5, tol=1e-10)
    assert (found.status, found.iterations) == (Status.BREAKDOWN, 5)
    whole = gmres(Counted(shift), vector(b), iterations=60, restart=6, tol=1e-10)
    assert whole.status is Status.CONVERGED
    assert torch.allclose(shift @ value(whole), b)


def test_with_a_preconditioner_it_solves_the_same_system():
    scales = torch.tensor([1.0, 10.0, 1e2, 1e3, 1e4, 1e5], dtype=torch.float64)
    matrix = (torch.eye(6) + 0.1 * numbers(6, 6, seed=5)) @ scales.diag()
    b = numbers(6, seed=4)
    matvec = Counted(matrix)
    precondition = jacobi(matvec, vector(b), probes=6)
    found = gmres(matvec, vector(b), iterations=4, restart=20, tol=1e-12, precondition=precondition)
    plain = gmres(Counted(matrix), vector(b), iterations=4, restart=20, tol=1e-12)
    assert found.iterations == matvec.calls == 10
    assert found.residual == pytest.approx(true_residual(matrix, b, found))
    assert relative_error(value(found), inverse(matrix, b)) < 0.1 * relative_error(
        value(plain), inverse(matrix, b)
    )
