"""All linear solvers: right answers, honest statuses, any scaling, never a NaN."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from cases import damped, inverse, numbers, positive, relative_error
from hypothesis import given
from hypothesis import strategies as st
from solver_cases import (
    SKEWED,
    A,
    B,
    Counted,
    diagonal,
    system,
    true_residual,
    value,
    vector,
    with_eigenvalues,
)
from torch import Tensor

from mlograph import trees
from mlograph.linear import (
    Solution,
    Status,
    System,
    bicgstab,
    cg,
    dense,
    gmres,
    neumann,
    normal_cg,
    nystrom,
    richardson,
)
from mlograph.trees import Vector

Solver = Callable[[System, Vector], Solution]


RHO = 1e-12

# For a positive matrix with eigenvalues from 1 to 5, to the end.
SOLVERS: dict[str, Solver] = {
    "cg": lambda A, b: cg(A.product, b, iterations=30, tol=1e-12),
    "gmres": lambda A, b: gmres(A.product, b, iterations=30, restart=10, tol=1e-12),
    "bicgstab": lambda A, b: bicgstab(A.product, b, iterations=30, tol=1e-12),
    "normal_cg": lambda A, b: normal_cg(A, b, iterations=60, tol=1e-12),
    "neumann": lambda A, b: neumann(A.product, b, iterations=300, alpha="auto"),
    "dense": lambda A, b: dense(A.product, b),
}
# These know nothing of how large the matrix is, or add to it.
OTHERS: dict[str, Solver] = {
    "richardson": lambda A, b: richardson(
        A.product, b, steps=300, rates=dict.fromkeys(b, 0.3), tol=1e-12
    ),
    "nystrom": lambda A, b: nystrom(A.product, b, rank=6, rho=RHO),
}
ANY = ("gmres", "bicgstab", "normal_cg", "dense")
EVERY = {**SOLVERS, **OTHERS}
each_solver = pytest.mark.parametrize("solve", EVERY.values(), ids=EVERY)
each_scalable = pytest.mark.parametrize("solve", SOLVERS.values(), ids=SOLVERS)


@each_solver
def test_a_zero_vector_gives_a_zero_answer_without_a_product(solve: Solver):
    matrix = system(A)
    found = solve(matrix, vector(torch.zeros(6, dtype=torch.float64)))
    assert (found.status, found.residual, found.iterations) == (Status.CONVERGED, 0.0, 0)
    assert matrix.product.calls == matrix.adjoint.calls == 0
    assert not value(found).any()


@each_solver
def test_products_are_counted(solve: Solver):
    matrix = system(A)
    found = solve(matrix, vector(B))
    assert found.iterations == matrix.product.calls + matrix.adjoint.calls > 0


@each_solver
def test_the_answer_solves_the_system(solve: Solver):
    found = solve(system(A), vector(B))
    assert relative_error(value(found), inverse(A, B)) < 1e-9
    assert true_residual(A, B, found) < 1e-9


@each_solver
def test_the_identity_is_no_trouble(solve: Solver):
    found = solve(system(torch.eye(6, dtype=torch.float64)), vector(B))
    assert found.status in (Status.CONVERGED, Status.MAX_ITERATIONS)
    assert relative_error(value(found), B) < 1e-9


@each_scalable
@pytest.mark.parametrize("scale_b", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("scale_a", [1e-8, 1.0, 1e8])
@pytest.mark.parametrize(("dtype", "precision"), [(torch.float64, 1e-10), (torch.float32, 1e-4)])
def test_any_scaling(
    solve: Solver, scale_a: float, scale_b: float, dtype: torch.dtype, precision: float
):
    found = solve(system((scale_a * A).to(dtype)), vector((scale_b * B).to(dtype)))
    assert relative_error(value(found).double(), inverse(A, B) * (scale_b / scale_a)) < precision


@each_scalable
@pytest.mark.parametrize("scale", [1e-300, 1e-170, 1e170, 1e300])
def test_a_vector_whose_squares_overflow_or_vanish(solve: Solver, scale: float):
    found = solve(system(A), vector(scale * B))
    assert found.status in (Status.CONVERGED, Status.MAX_ITERATIONS)
    assert relative_error(value(found) / scale, inverse(A, B)) < 1e-10


LONG: dict[str, Solver] = {
    "cg": lambda A, b: cg(A.product, b, iterations=300, tol=1e-10),
    "gmres": lambda A, b: gmres(A.product, b, iterations=300, restart=30, tol=1e-10),
    "bicgstab": lambda A, b: bicgstab(A.product, b, iterations=300, tol=1e-10),
    "normal_cg": lambda A, b: normal_cg(A, b, iterations=300, tol=1e-10),
    "dense": lambda A, b: dense(A.product, b),
}


@pytest.mark.parametrize("exponent", [2, 4, 10])
@pytest.mark.parametrize("solve", LONG.values(), ids=LONG)
def test_in_single_precision_no_recurrence_is_believed_beyond_rounding(
    solve: Solver, exponent: int
):
    """A recurrence goes on to fall where the residual itself stays."""
    basis = torch.linalg.qr(numbers(30, 30, seed=1)).Q
    values = torch.logspace(0, -exponent, 30, dtype=torch.float64)
    matrix, b = (basis @ values.diag() @ basis.T).float(), numbers(30, seed=2).float()
    found = solve(system(matrix), {"x": b})
    true = true_residual(matrix.double(), b.double(), _double(found))
    assert found.residual > 0.1 * true
    assert true < 0.01 or found.status is not Status.CONVERGED


def _double(found: Solution) -> Solution:
    return replace(found, value={name: x.double() for name, x in found.value.items()})


@given(size=st.integers(2, 8), seed=st.integers(0, 10**6), condition=st.floats(1.0, 30.0))
def test_all_solvers_agree_with_a_dense_solve(size: int, seed: int, condition: float):
    matrix, b = positive(size, seed, condition), numbers(size, seed=seed + 1)
    for name, solve in SOLVERS.items():
        precision = 1e-4 if name == "neumann" else 1e-8
        assert (
            relative_error(value(solve(system(matrix), vector(b))), inverse(matrix, b)) < precision
        )


@pytest.mark.parametrize("name", ANY)
def test_some_need_no_symmetry(name: str):
    found = SOLVERS[name](system(SKEWED), vector(B))
    assert found.status is Status.CONVERGED
    assert relative_error(value(found), inverse(SKEWED, B)) < 1e-9


@pytest.mark.parametrize("name", ["gmres", "normal_cg", "dense"])
def test_some_need_no_sign(name: str):
    indefinite = with_eigenvalues(5.0, 4.0, 3.0, -2.0, -1.0, 0.5)
    found = SOLVERS[name](system(indefinite), vector(B))
    assert found.status is Status.CONVERGED
    assert relative_error(value(found), inverse(indefinite, B)) < 1e-9


@pytest.mark.parametrize("name", ["cg", "gmres", "normal_cg", "dense"])
def test_a_singular_matrix_is_told(name: str):
    matrix = diagonal(2.0, 3.0, 0.0, 5.0, 0.0, 1.0)
    found = SOLVERS[name](system(matrix), vector(B))
    assert found.status is Status.SINGULAR
    assert found.residual == pytest.approx(true_residual(matrix, B, found))
    assert found.residual > 0.1


@pytest.mark.parametrize("name", ["gmres", "normal_cg", "dense"])
def test_and_solved_for_the_least_residual(name: str):
    matrix = diagonal(2.0, 3.0, 0.0, 5.0, 0.0, 1.0)
    found = SOLVERS[name](system(matrix), vector(B))
    assert true_residual(matrix, B, found) == pytest.approx(float(B[[2, 4]].norm() / B.norm()))


@pytest.mark.parametrize("name", ["cg", "gmres", "bicgstab", "normal_cg", "dense"])
def test_a_zero_matrix_has_no_inverse(name: str):
    found = SOLVERS[name](system(0 * A), vector(B))
    assert found.status is Status.SINGULAR
    assert found.residual == pytest.approx(1.0)
    assert not value(found).any()


AWKWARD = {
    "singular": diagonal(2.0, 3.0, 0.0, 5.0, 0.0, 1.0),
    "zero": 0 * A,
    "negative": -A,
    "indefinite": with_eigenvalues(5.0, 4.0, 3.0, 2.0, 1.0, -0.5),
    "skew": SKEWED - SKEWED.T,
    "nilpotent": torch.diag(torch.ones(5, dtype=torch.float64), 1),
    "huge": 1e200 * A,
    "tiny": 1e-100 * A,
}


@each_solver
@pytest.mark.parametrize("matrix", AWKWARD.values(), ids=AWKWARD)
def test_an_awkward_matrix_gives_numbers_and_the_truth(solve: Solver, matrix: Tensor):
    found = solve(system(matrix), vector(B))
    assert value(found).isfinite().all()
    if found.status is Status.CONVERGED:
        shift = RHO if solve is OTHERS["nystrom"] else 0.0
        assert true_residual(matrix + shift * torch.eye(6), B, found) < 1e-6


@each_solver
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_non_finite_right_hand_side_says_so(solve: Solver, bad: float):
    b = B.clone()
    b[3] = bad
    found = solve(system(A), vector(b))
    assert found.status is Status.NON_FINITE
    assert not value(found).any()


@each_solver
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("good", [0, 1, 2])
def test_a_non_finite_product_ends_it_with_what_it_had(solve: Solver, bad: float, good: int):
    calls = []

    def breaking(x: Vector) -> Vector:
        calls.append(x)
        product = Counted(A)(x)
        return product if len(calls) <= good else trees.scale(bad, product)

    found = solve(System(breaking, breaking), vector(B))
    assert found.status is Status.NON_FINITE
    assert value(found).isfinite().all()


@pytest.mark.parametrize("name", ["cg", "gmres", "bicgstab", "normal_cg"])
def test_the_residual_that_is_told_is_true(name: str):
    short: dict[str, Solver] = {
        "cg": lambda A, b: cg(A.product, b, iterations=3, tol=0.0),
        "gmres": lambda A, b: gmres(A.product, b, iterations=5, restart=3, tol=0.0),
        "bicgstab": lambda A, b: bicgstab(A.product, b, iterations=2, tol=0.0),
        "normal_cg": lambda A, b: normal_cg(A, b, iterations=3, tol=0.0),
    }
    found = short[name](system(A), vector(B))
    assert found.status is Status.MAX_ITERATIONS
    assert found.residual == pytest.approx(true_residual(A, B, found))


WARM: dict[str, Callable[[System, Vector, Vector], Solution]] = {
    "cg": lambda A, b, w: cg(A.product, b, iterations=9, tol=1e-10, start=w),
    "gmres": lambda A, b, w: gmres(A.product, b, iterations=9, restart=9, tol=1e-10, start=w),
    "bicgstab": lambda A, b, w: bicgstab(A.product, b, iterations=9, tol=1e-10, start=w),
    "normal_cg": lambda A, b, w: normal_cg(A, b, iterations=9, tol=1e-10, start=w),
    "neumann": lambda A, b, w: neumann(A.product, b, iterations=9, alpha=0.1, tol=1e-10, start=w),
    "richardson": lambda A, b, w: richardson(
        A.product, b, steps=9, rates=dict.fromkeys(b, 0.1), tol=1e-10, start=w
    ),
}


@pytest.mark.parametrize("solve", WARM.values(), ids=WARM)
def test_a_warm_start_at_the_solution_costs_one_product(
    solve: Callable[[System, Vector, Vector], Solution],
):
    matrix, start = system(A), vector(inverse(A, B))
    found = solve(matrix, vector(B), start)
    assert (found.status, found.iterations) == (Status.CONVERGED, 1)
    assert matrix.product.calls == 1
    assert relative_error(value(found), inverse(A, B)) < 1e-10


@pytest.mark.parametrize("solve", WARM.values(), ids=WARM)
def test_a_warm_start_elsewhere_is_not_touched(
    solve: Callable[[System, Vector, Vector], Solution],
):
    start = vector(numbers(6, seed=3))
    kept = {name: x.clone() for name, x in start.items()}
    found = solve(system(A), vector(B), start)
    assert true_residual(A, B, found) < 1.0
    assert all(torch.equal(start[name], kept[name]) for name in kept)


@each_solver
def test_no_global_random_number_is_drawn(solve: Solver):
    state = torch.get_rng_state()
    first = solve(system(A), vector(B))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(value(solve(system(A), vector(B))), value(first))


@pytest.mark.parametrize("name", SOLVERS)
def test_a_damped_system_is_that_of_the_damped_matrix(name: str):
    found = SOLVERS[name](system(A).damped(0.5), vector(B))
    assert relative_error(value(found), damped(0.5)(A, B)) < 1e-9
