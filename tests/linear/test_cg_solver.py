"""Conjugate gradients."""

from __future__ import annotations

import pytest
import torch
from cases import inverse, krylov, numbers, relative_error
from solver_cases import A, B, Counted, diagonal, true_residual, value, vector, with_eigenvalues

from mlograph import trees
from mlograph.linear import Preconditioner, Status, cg, jacobi, nystrom_preconditioner
from mlograph.trees import Vector


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_the_last_iterate_is_returned_with_its_own_residual(iterations: int):
    matvec = Counted(A)
    found = cg(matvec, vector(B), iterations=iterations, tol=0.0)
    assert found.status is Status.MAX_ITERATIONS
    assert found.iterations == matvec.calls == iterations
    assert relative_error(value(found), krylov(iterations)(A, B)) < 1e-12
    assert found.residual == pytest.approx(float((B - A @ value(found)).norm() / B.norm()))


def test_it_converges_in_as_many_iterations_as_unknowns():
    found = cg(Counted(A), vector(B), iterations=50, tol=1e-10)
    assert found.status is Status.CONVERGED
    assert found.iterations == 6
    assert found.residual <= 1e-10


def test_convergence_in_the_last_iteration_counts():
    found = cg(Counted(A), vector(B), iterations=6, tol=1e-10)
    assert found.status is Status.CONVERGED


def test_it_stops_at_its_tolerance():
    loose = cg(Counted(A), vector(B), iterations=50, tol=0.1)
    assert loose.status is Status.CONVERGED
    assert loose.iterations < 6
    assert float((B - A @ value(loose)).norm()) <= 0.1 * float(B.norm())


def test_an_exact_answer_ends_it():
    matvec = Counted(2 * torch.eye(6, dtype=torch.float64))
    found = cg(matvec, vector(B), iterations=10, tol=0.0)
    assert matvec.calls == 1
    assert found.status is Status.CONVERGED
    assert found.residual < 1e-15
    assert torch.allclose(value(found), B / 2, rtol=1e-15)


def test_a_warm_start_at_the_solution_costs_one_product():
    matvec = Counted(A)
    start = vector(inverse(A, B))
    found = cg(matvec, vector(B), iterations=10, tol=1e-10, start=start)
    assert (found.status, found.iterations, matvec.calls) == (Status.CONVERGED, 1, 1)


def test_a_warm_start_elsewhere_still_converges():
    start = vector(numbers(6, seed=3))
    kept = {name: x.clone() for name, x in start.items()}
    found = cg(Counted(A), vector(B), iterations=6, tol=1e-10, start=start)
    assert relative_error(value(found), inverse(A, B)) < 1e-10
    assert all(torch.equal(start[name], kept[name]) for name in kept)


def test_negative_curvature_ends_at_the_last_good_iterate():
    indefinite = with_eigenvalues(5.0, 4.0, 3.0, 2.0, 1.0, -0.5)
    found = cg(Counted(indefinite), vector(B), iterations=20, tol=1e-12)
    assert found.status is Status.NEGATIVE_CURVATURE
    good = found.iterations - 1
    assert 1 <= good < 6
    assert relative_error(value(found), krylov(good)(indefinite, B)) < 1e-8
    residual = (B - indefinite @ value(found)).norm() / B.norm()
    assert found.residual == pytest.approx(float(residual))


def test_negative_curvature_at_once_leaves_zero():
    found = cg(Counted(-A), vector(B), iterations=5, tol=1e-12)
    assert found.status is Status.NEGATIVE_CURVATURE
    assert found.residual == pytest.approx(1.0)
    assert not value(found).any()


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("good", [0, 1, 2])
@pytest.mark.parametrize("more", [0, 5])
def test_a_non_finite_product_ends_at_the_last_good_iterate(bad: float, good: int, more: int):
    matvec = Counted(A)

    def breaking(x: Vector) -> Vector:
        product = matvec(x)
        return product if matvec.calls <= good else trees.scale(bad, product)

    found = cg(breaking, vector(B), iterations=good + 1 + more, tol=1e-12)
    assert found.status is Status.NON_FINITE
    assert matvec.calls == good + 1
    expected = krylov(good)(A, B) if good else 0 * B
    assert torch.allclose(value(found), expected, rtol=1e-12)


def test_a_non_finite_right_hand_side_says_so():
    found = cg(Counted(A), vector(B * float("nan")), iterations=5, tol=1e-12)
    assert found.status is Status.NON_FINITE
    assert value(found).isfinite().all()


def test_a_direction_without_curvature_that_is_not_lost_is_negative_curvature():
    # ⟨b, A b⟩ = 0 and A b ≠ 0: only an indefinite matrix has this.
    found = cg(Counted(diagonal(1.0, -1.0)), vector(torch.ones(2).double()), iterations=5, tol=0.0)
    assert found.status is Status.NEGATIVE_CURVATURE
    assert found.residual == pytest.approx(1.0)


def test_a_singular_matrix_is_told_from_a_negative_one():
    found = cg(Counted(diagonal(2.0, 3.0, 0.0, 5.0, 0.0, 1.0)), vector(B), iterations=30, tol=1e-12)
    assert found.status is Status.SINGULAR
    assert found.residual == pytest.approx(true_residual(diagonal(2, 3, 0, 5, 0, 1), B, found))


def test_numbers_that_vanish_end_it():
    tiny = vector(1e-24 * B.float())
    found = cg(Counted(A.float()), trees.scale(1e4, tiny), iterations=20, tol=0.0)
    assert found.status in (Status.BREAKDOWN, Status.CONVERGED)
    assert value(found).isfinite().all()


def test_the_diagonal_makes_a_badly_scaled_system_easy():
    scaling = diagonal(*(10.0**k for k in range(6)))
    matrix = scaling @ (torch.eye(6).double() + 0.02 * A) @ scaling
    b = matrix @ numbers(6, seed=4)
    plain = cg(Counted(matrix), vector(b), iterations=6, tol=1e-10)
    matvec = Counted(matrix)
    helped = cg(
        matvec,
        vector(b),
        iterations=6,
        tol=1e-10,
        precondition=Preconditioner(
            lambda x: trees.unflatten(trees.flatten(x) / matrix.diag(), x), 0
        ),
    )
    assert plain.status is Status.MAX_ITERATIONS
    assert helped.status is Status.CONVERGED
    assert helped.residual < 1e-3 * plain.residual


@pytest.mark.parametrize("make", ["jacobi", "nystrom"])
def test_with_a_preconditioner_it_still_solves_the_same_system(make: str):
    matvec = Counted(A)
    if make == "jacobi":
        precondition = jacobi(matvec, vector(B), probes=3)
    else:
        precondition = nystrom_preconditioner(matvec, vector(B), rank=3, rho=0.1)
    found = cg(matvec, vector(B), iterations=30, tol=1e-12, precondition=precondition)
    assert found.status is Status.CONVERGED
    assert found.iterations == matvec.calls
    assert relative_error(value(found), inverse(A, B)) < 1e-10
