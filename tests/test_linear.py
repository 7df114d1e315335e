"""Linear solvers: right answers, honest statuses, any scaling."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from cases import inverse, krylov, numbers, positive, relative_error, series
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mlograph import trees
from mlograph.linear import MatVec, Solution, Status, cg, dense, largest_eigenvalue, neumann
from mlograph.trees import Vector

Solver = Callable[[MatVec, Vector], Solution]


def vector(x: Tensor) -> Vector:
    return {"head": x[:1], "tail": x[1:].reshape(1, -1)}


class Counted:
    """x ↦ A x on named tensors, counting its calls."""

    def __init__(self, A: Tensor) -> None:
        self.A, self.calls = A, 0

    def __call__(self, x: Vector) -> Vector:
        self.calls += 1
        return trees.unflatten(self.A @ trees.flatten(x), x)


def value(solution: Solution) -> Tensor:
    return trees.flatten(solution.value)


def with_eigenvalues(*values: float, seed: int = 1) -> Tensor:
    basis = torch.linalg.qr(numbers(len(values), len(values), seed=seed)).Q
    return basis @ torch.tensor(values, dtype=torch.float64).diag() @ basis.T


A, B = positive(6, seed=1), numbers(6, seed=2)

SOLVERS: dict[str, Solver] = {
    "cg": lambda matvec, b: cg(matvec, b, iterations=30, tol=1e-12),
    "neumann": lambda matvec, b: neumann(matvec, b, iterations=300, alpha="auto"),
    "dense": dense,
}
each_solver = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


@each_solver
def test_a_zero_vector_gives_a_zero_answer_without_a_product(solve: Solver):
    matvec = Counted(A)
    found = solve(matvec, vector(torch.zeros(6, dtype=torch.float64)))
    assert (found.status, found.residual, found.iterations) == (Status.CONVERGED, 0.0, 0)
    assert matvec.calls == 0
    assert not value(found).any()


@each_solver
@pytest.mark.parametrize("scale_b", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("scale_a", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize(("dtype", "precision"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_any_scaling(
    solve: Solver, scale_a: float, scale_b: float, dtype: torch.dtype, precision: float
):
    found = solve(Counted((scale_a * A).to(dtype)), vector((scale_b * B).to(dtype)))
    assert relative_error(value(found).double(), inverse(A, B) * (scale_b / scale_a)) < precision


@given(size=st.integers(2, 8), seed=st.integers(0, 10**6), condition=st.floats(1.0, 30.0))
def test_all_solvers_agree_with_a_dense_solve(size: int, seed: int, condition: float):
    matrix, b = positive(size, seed, condition), numbers(size, seed=seed + 1)
    for solve in SOLVERS.values():
        assert relative_error(value(solve(Counted(matrix), vector(b))), inverse(matrix, b)) < 1e-4
    for solve in (SOLVERS["cg"], SOLVERS["dense"]):
        assert relative_error(value(solve(Counted(matrix), vector(b))), inverse(matrix, b)) < 1e-8


class TestConjugateGradients:
    @pytest.mark.parametrize("iterations", [1, 2, 4])
    def test_the_last_iterate_is_returned_with_its_own_residual(self, iterations: int):
        matvec = Counted(A)
        found = cg(matvec, vector(B), iterations=iterations, tol=0.0)
        assert found.status is Status.MAX_ITERATIONS
        assert found.iterations == matvec.calls == iterations
        assert relative_error(value(found), krylov(iterations)(A, B)) < 1e-12
        assert found.residual == pytest.approx(float((B - A @ value(found)).norm() / B.norm()))

    def test_it_converges_in_as_many_iterations_as_unknowns(self):
        found = cg(Counted(A), vector(B), iterations=50, tol=1e-10)
        assert found.status is Status.CONVERGED
        assert found.iterations == 6
        assert found.residual <= 1e-10

    def test_convergence_in_the_last_iteration_counts(self):
        found = cg(Counted(A), vector(B), iterations=6, tol=1e-10)
        assert found.status is Status.CONVERGED

    def test_it_stops_at_its_tolerance(self):
        loose = cg(Counted(A), vector(B), iterations=50, tol=0.1)
        assert loose.status is Status.CONVERGED
        assert loose.iterations < 6
        assert float((B - A @ value(loose)).norm()) <= 0.1 * float(B.norm())

    def test_an_exact_answer_ends_it(self):
        matvec = Counted(2 * torch.eye(6, dtype=torch.float64))
        found = cg(matvec, vector(B), iterations=10, tol=0.0)
        assert matvec.calls == 1
        assert (found.status, found.residual) == (Status.CONVERGED, 0.0)
        assert torch.equal(value(found), B / 2)

    def test_a_warm_start_at_the_solution_costs_one_product(self):
        matvec = Counted(A)
        start = vector(inverse(A, B))
        found = cg(matvec, vector(B), iterations=10, tol=1e-10, start=start)
        assert (found.status, found.iterations, matvec.calls) == (Status.CONVERGED, 1, 1)

    def test_a_warm_start_elsewhere_still_converges(self):
        start = vector(numbers(6, seed=3))
        kept = {name: x.clone() for name, x in start.items()}
        found = cg(Counted(A), vector(B), iterations=6, tol=1e-10, start=start)
        assert relative_error(value(found), inverse(A, B)) < 1e-10
        assert all(torch.equal(start[name], kept[name]) for name in kept)

    def test_negative_curvature_ends_at_the_last_good_iterate(self):
        indefinite = with_eigenvalues(5.0, 4.0, 3.0, 2.0, 1.0, -0.5)
        found = cg(Counted(indefinite), vector(B), iterations=20, tol=1e-12)
        assert found.status is Status.NEGATIVE_CURVATURE
        good = found.iterations - 1
        assert 1 <= good < 6
        assert relative_error(value(found), krylov(good)(indefinite, B)) < 1e-8
        residual = (B - indefinite @ value(found)).norm() / B.norm()
        assert found.residual == pytest.approx(float(residual))

    def test_negative_curvature_at_once_leaves_zero(self):
        found = cg(Counted(-A), vector(B), iterations=5, tol=1e-12)
        assert found.status is Status.NEGATIVE_CURVATURE
        assert found.residual == pytest.approx(1.0)
        assert not value(found).any()

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    @pytest.mark.parametrize("good", [0, 1, 2])
    @pytest.mark.parametrize("more", [0, 5])
    def test_a_non_finite_product_ends_at_the_last_good_iterate(
        self, bad: float, good: int, more: int
    ):
        matvec = Counted(A)

        def breaking(x: Vector) -> Vector:
            product = matvec(x)
            return product if matvec.calls <= good else trees.scale(bad, product)

        found = cg(breaking, vector(B), iterations=good + 1 + more, tol=1e-12)
        assert found.status is Status.NON_FINITE
        assert matvec.calls == good + 1
        expected = krylov(good)(A, B) if good else 0 * B
        assert torch.allclose(value(found), expected, rtol=1e-12)

    def test_a_non_finite_right_hand_side_says_so(self):
        found = cg(Counted(A), vector(B * float("nan")), iterations=5, tol=1e-12)
        assert found.status is Status.NON_FINITE
        assert value(found).isfinite().all()


class TestNeumann:
    @pytest.mark.parametrize("iterations", [1, 3, 10])
    def test_k_iterations_are_k_products_and_k_plus_one_terms(self, iterations: int):
        matvec = Counted(A)
        found = neumann(matvec, vector(B), iterations=iterations, alpha=0.1)
        assert found.iterations == matvec.calls == iterations
        assert relative_error(value(found), series(0.1, iterations + 1)(A, B)) < 1e-12
        assert found.status is Status.MAX_ITERATIONS

    def test_products_for_the_step_are_counted(self):
        matvec = Counted(A)
        found = neumann(matvec, vector(B), iterations=3, alpha="auto")
        assert found.iterations == matvec.calls == 13

    def test_a_diverging_series_says_so(self):
        found = neumann(Counted(1e200 * A), vector(B), iterations=5, alpha=1.0)
        assert found.status is Status.NON_FINITE

    def test_its_own_step_does_not_depend_on_where_the_vector_points(self):
        # Power iteration from b alone would take the smallest eigenvalue for the largest.
        smallest = torch.linalg.eigh(A).eigenvectors[:, 0]
        found = neumann(Counted(A), vector(smallest), iterations=200, alpha="auto")
        assert relative_error(value(found), smallest) < 1e-10

    def test_its_own_step_draws_no_random_numbers(self):
        state = torch.get_rng_state()
        first = neumann(Counted(A), vector(B), iterations=3, alpha="auto")
        assert torch.equal(torch.get_rng_state(), state)
        again = neumann(Counted(A), vector(B), iterations=3, alpha="auto")
        assert torch.equal(value(first), value(again))

    def test_a_zero_matrix_is_survived(self):
        found = neumann(Counted(0 * A), vector(B), iterations=3, alpha="auto")
        assert torch.allclose(value(found), 4 * B)


@given(size=st.integers(2, 10), seed=st.integers(0, 10**6), condition=st.floats(1.0, 1000.0))
def test_the_largest_eigenvalue_is_large_enough_for_a_step(size: int, seed: int, condition: float):
    matrix = positive(size, seed, condition)
    found, products = largest_eigenvalue(Counted(matrix), vector(numbers(size, seed=seed + 1)))
    assert products == 10
    assert condition / 2 < found < 1.2 * condition


class TestDense:
    def test_it_is_exact(self):
        matvec = Counted(A)
        found = dense(matvec, vector(B))
        assert found.status is Status.CONVERGED
        assert found.iterations == matvec.calls == 6
        assert relative_error(value(found), inverse(A, B)) < 1e-14
        assert found.residual < 1e-14

    def test_it_needs_no_symmetry(self):
        matrix = A + 0.5 * numbers(6, 6, seed=3)
        assert relative_error(value(dense(Counted(matrix), vector(B))), inverse(matrix, B)) < 1e-12

    def test_a_singular_matrix_gives_the_least_squares_solution_of_least_norm(self):
        matrix = torch.tensor([2.0, 3.0, 0.0, 5.0, 0.0, 1.0], dtype=torch.float64).diag()
        found = dense(Counted(matrix), vector(B))
        assert found.status is Status.SINGULAR
        assert torch.allclose(value(found), torch.linalg.pinv(matrix) @ B)
        assert found.residual == pytest.approx(float(B[[2, 4]].norm() / B.norm()))

    @pytest.mark.parametrize("bad", [float("nan"), float("inf")])
    @pytest.mark.parametrize("where", ["matrix", "vector"])
    def test_what_is_not_finite_is_reported(self, bad: float, where: str):
        matrix, b = A.clone(), B.clone()
        (matrix if where == "matrix" else b).view(-1)[3] = bad
        found = dense(Counted(matrix), vector(b))
        assert found.status is Status.NON_FINITE
        assert value(found).isfinite().all()
