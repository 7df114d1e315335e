"""Conjugate gradients on the normal equations."""

from __future__ import annotations

import pytest
import torch
from cases import normal, numbers, relative_error
from solver_cases import SKEWED, B, diagonal, system, value, vector

from mlograph.linear import Status, normal_cg


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_k_iterations_leave_the_least_residual_of_their_space(iterations: int):
    matrix = system(SKEWED)
    found = normal_cg(matrix, vector(B), iterations=iterations, tol=0.0)
    assert found.iterations == 2 * iterations
    assert matrix.product.calls == matrix.adjoint.calls == iterations
    assert relative_error(value(found), normal(iterations)(SKEWED, B)) < 1e-10


def test_it_converges_in_as_many_iterations_as_unknowns():
    found = normal_cg(system(SKEWED), vector(B), iterations=50, tol=1e-10)
    assert (found.status, found.iterations) == (Status.CONVERGED, 12)


def test_a_skew_symmetric_matrix_is_solved():
    skew = SKEWED - SKEWED.T
    found = normal_cg(system(skew), vector(B), iterations=20, tol=1e-10)
    assert found.status is Status.CONVERGED
    assert torch.allclose(skew @ value(found), B)


def test_a_singular_matrix_gives_the_least_squares_solution_of_least_norm():
    matrix = diagonal(2.0, 3.0, 0.0, 5.0, 0.0, 1.0)
    found = normal_cg(system(matrix), vector(B), iterations=50, tol=1e-12)
    assert found.status is Status.SINGULAR
    assert torch.allclose(value(found), torch.linalg.pinv(matrix) @ B)


def test_a_singular_matrix_that_rounding_hides_is_found_out():
    factor = numbers(6, 4, seed=3)
    matrix = factor @ numbers(4, 6, seed=4)
    found = normal_cg(system(matrix), vector(B), iterations=50, tol=1e-12)
    assert found.status is Status.SINGULAR
    assert found.iterations < 20
    assert torch.allclose(value(found), torch.linalg.pinv(matrix) @ B)
