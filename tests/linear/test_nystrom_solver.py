"""The inverse of a low-rank approximation."""

from __future__ import annotations

import pytest
import torch
from cases import damped, numbers, relative_error
from solver_cases import A, B, Counted, value, vector, with_eigenvalues
from torch import Tensor

from mlograph import trees
from mlograph.linear import Status, jacobi, low_rank, nystrom, nystrom_preconditioner


def chosen(rank: int, seed: int) -> Tensor:
    return torch.randperm(6, generator=torch.Generator().manual_seed(seed))[:rank]


def woodbury(matrix: Tensor, b: Tensor, columns: Tensor, rho: float) -> Tensor:
    """b/ρ − C (W + CᵀC/ρ)⁻¹ Cᵀb/ρ², as in the paper."""
    C = matrix[:, columns]
    core = C[columns] + C.T @ C / rho
    return b / rho - C @ torch.linalg.solve(core, C.T @ b) / rho**2


@pytest.mark.parametrize("rank", [1, 3, 5])
@pytest.mark.parametrize("seed", [0, 7])
def test_it_is_the_formula_of_the_paper(rank: int, seed: int):
    matvec = Counted(A)
    found = nystrom(matvec, vector(B), rank=rank, rho=0.3, seed=seed)
    assert found.iterations == matvec.calls == rank + 1
    assert relative_error(value(found), woodbury(A, B, chosen(rank, seed), 0.3)) < 1e-12
    rest = B - A @ value(found) - 0.3 * value(found)
    assert found.residual == pytest.approx(float(rest.norm() / B.norm()))
    assert found.status is Status.MAX_ITERATIONS


@pytest.mark.parametrize("rank", [6, 100])
def test_all_columns_are_exact(rank: int):
    found = nystrom(Counted(A), vector(B), rank=rank, rho=0.3)
    assert (found.status, found.iterations) == (Status.CONVERGED, 7)
    assert relative_error(value(found), damped(0.3)(A, B)) < 1e-12


@pytest.mark.parametrize("rank", [2, 3, 6])
@pytest.mark.parametrize("rho", [1.0, 1e-6])
def test_a_matrix_of_low_rank_is_exact_with_more_columns_than_its_rank(rank: int, rho: float):
    factor = numbers(6, 2, seed=3)
    found = nystrom(Counted(factor @ factor.T), vector(B), rank=rank, rho=rho)
    assert found.status is Status.CONVERGED
    assert relative_error(value(found), damped(rho)(factor @ factor.T, B)) < 1e-8


def test_a_zero_matrix_leaves_rho():
    found = nystrom(Counted(0 * A), vector(B), rank=3, rho=0.5)
    assert torch.allclose(value(found), 2 * B)


def test_negative_eigenvalues_count_as_zero_and_are_told():
    indefinite = with_eigenvalues(5.0, 4.0, 3.0, 2.0, 1.0, -0.5)
    found = nystrom(Counted(indefinite), vector(B), rank=6, rho=0.5)
    assert found.status is Status.NEGATIVE_CURVATURE
    values, vectors = torch.linalg.eigh(indefinite)
    expected = vectors @ (vectors.T @ B / (values.clamp(min=0.0) + 0.5))
    assert relative_error(value(found), expected) < 1e-10


def test_the_approximation_comes_as_eigenvalues_and_eigenvectors():
    found = low_rank(Counted(A), vector(B), rank=3)
    C = A[:, chosen(3, 0)]
    expected = C @ torch.linalg.solve(C[chosen(3, 0)], C.T)
    assert torch.allclose(found.basis.T @ found.basis, torch.eye(3, dtype=torch.float64))
    assert torch.allclose(found.basis @ found.values.diag() @ found.basis.T, expected)


def test_its_preconditioner_undoes_what_it_knows_of_the_matrix():
    factor = numbers(6, 2, seed=3)
    matrix = factor @ factor.T
    made = nystrom_preconditioner(Counted(matrix), vector(B), rank=4, rho=0.5)
    smallest = torch.linalg.eigvalsh(matrix)[-2]
    solved = trees.flatten(made.apply(vector(matrix @ B + 0.5 * B)))
    inside = matrix @ torch.linalg.pinv(matrix) @ B
    expected = (smallest + 0.5) * inside + 0.5 * (B - inside)
    assert made.products == 4
    assert relative_error(solved, expected) < 1e-8


def test_the_diagonal_is_exact_with_a_probe_for_each_parameter():
    matvec = Counted(A)
    made = jacobi(matvec, vector(B), probes=6)
    assert made.products == matvec.calls == 6
    assert torch.allclose(trees.flatten(made.apply(vector(B))), B / A.diag())


def test_the_diagonal_is_estimated_without_bias_by_fewer():
    # On a diagonal matrix every probe is exact.
    diagonal = torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0, 6.0], dtype=torch.float64)
    made = jacobi(Counted(diagonal.diag()), vector(B), probes=1)
    assert made.products == 1
    assert torch.allclose(trees.flatten(made.apply(vector(B))), B / diagonal)


@pytest.mark.parametrize("bad", [0.0, float("nan")])
def test_a_diagonal_that_tells_nothing_is_not_used(bad: float):
    made = jacobi(Counted(bad * A), vector(B), probes=2)
    assert torch.equal(trees.flatten(made.apply(vector(B))), B)


def test_small_and_negative_entries_of_the_diagonal_are_kept_away_from_zero():
    diagonal = torch.tensor([1.0, -2.0, 0.0, 1e-9, 100.0, 6.0], dtype=torch.float64)
    made = jacobi(Counted(diagonal.diag()), vector(B), probes=6)
    least = 100 * (10 * torch.finfo(torch.float64).eps) ** 0.5
    expected = torch.tensor([1.0, 2.0, least, least, 100.0, 6.0], dtype=torch.float64)
    assert torch.allclose(trees.flatten(made.apply(vector(B))), B / expected)
