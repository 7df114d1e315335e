"""The dense inverse."""

from __future__ import annotations

import pytest
import torch
from cases import inverse, numbers, relative_error
from solver_cases import A, B, Counted, value, vector

from mlograph.linear import Status, dense


def test_it_is_exact():
    matvec = Counted(A)
    found = dense(matvec, vector(B))
    assert found.status is Status.CONVERGED
    assert found.iterations == matvec.calls == 6
    assert relative_error(value(found), inverse(A, B)) < 1e-14
    assert found.residual < 1e-14


def test_it_needs_no_symmetry():
    matrix = A + 0.5 * numbers(6, 6, seed=3)
    assert relative_error(value(dense(Counted(matrix), vector(B))), inverse(matrix, B)) < 1e-12


def test_a_singular_matrix_gives_the_least_squares_solution_of_least_norm():
    matrix = torch.tensor([2.0, 3.0, 0.0, 5.0, 0.0, 1.0], dtype=torch.float64).diag()
    found = dense(Counted(matrix), vector(B))
    assert found.status is Status.SINGULAR
    assert torch.allclose(value(found), torch.linalg.pinv(matrix) @ B)
    assert found.residual == pytest.approx(float(B[[2, 4]].norm() / B.norm()))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("where", ["matrix", "vector"])
def test_what_is_not_finite_is_reported(bad: float, where: str):
    matrix, b = A.clone(), B.clone()
    (matrix if where == "matrix" else b).view(-1)[3] = bad
    found = dense(Counted(matrix), vector(b))
    assert found.status is Status.NON_FINITE
    assert value(found).isfinite().all()


def test_a_singular_matrix_that_rounding_hides_is_found_out():
    factor = numbers(6, 5, seed=3)
    found = dense(Counted(factor @ factor.T), vector(B))
    assert found.status is Status.SINGULAR
    assert torch.allclose(value(found), torch.linalg.pinv(factor @ factor.T) @ B)
