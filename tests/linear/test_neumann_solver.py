"""The truncated Neumann series."""

from __future__ import annotations

import pytest
import torch
from cases import numbers, positive, relative_error, series
from hypothesis import given
from hypothesis import strategies as st
from solver_cases import A, B, Counted, value, vector, with_eigenvalues

from mlograph.linear import Status, largest_eigenvalue, neumann


@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_k_iterations_are_k_products_and_k_plus_one_terms(iterations: int):
    matvec = Counted(A)
    found = neumann(matvec, vector(B), iterations=iterations, alpha=0.1)
    assert found.iterations == matvec.calls == iterations
    assert relative_error(value(found), series(0.1, iterations + 1)(A, B)) < 1e-12
    assert found.status is Status.MAX_ITERATIONS


def test_products_for_the_step_are_counted():
    matvec = Counted(A)
    found = neumann(matvec, vector(B), iterations=3, alpha="auto")
    assert found.iterations == matvec.calls == 13


def test_a_product_that_overflows_ends_it():
    found = neumann(Counted(1e200 * A), vector(B), iterations=5, alpha=1.0)
    assert found.status is Status.NON_FINITE


def test_its_own_step_does_not_depend_on_where_the_vector_points():
    # Power iteration from b alone would take the smallest eigenvalue for the largest.
    smallest = torch.linalg.eigh(A).eigenvectors[:, 0]
    found = neumann(Counted(A), vector(smallest), iterations=200, alpha="auto")
    assert relative_error(value(found), smallest) < 1e-10


def test_its_own_step_draws_no_random_numbers():
    state = torch.get_rng_state()
    first = neumann(Counted(A), vector(B), iterations=3, alpha="auto")
    assert torch.equal(torch.get_rng_state(), state)
    again = neumann(Counted(A), vector(B), iterations=3, alpha="auto")
    assert torch.equal(value(first), value(again))


def test_a_zero_matrix_is_survived():
    found = neumann(Counted(0 * A), vector(B), iterations=3, alpha="auto")
    assert torch.allclose(value(found), 4 * B)


@given(size=st.integers(2, 10), seed=st.integers(0, 10**6), condition=st.floats(1.0, 1000.0))
def test_the_largest_eigenvalue_is_large_enough_for_a_step(size: int, seed: int, condition: float):
    matrix = positive(size, seed, condition)
    found, products = largest_eigenvalue(Counted(matrix), vector(numbers(size, seed=seed + 1)))
    assert products == 10
    assert condition / 2 < found < 1.2 * condition


@pytest.mark.parametrize("alpha", [0.45, 0.5])
def test_a_series_that_grows_says_so(alpha: float):
    # The largest eigenvalue of A is 5.
    found = neumann(Counted(A), vector(B), iterations=60, alpha=alpha)
    assert found.status is Status.DIVERGED
    assert found.residual > 1.0


def test_an_indefinite_matrix_makes_it_grow():
    indefinite = with_eigenvalues(5.0, 4.0, 3.0, 2.0, 1.0, -0.5)
    found = neumann(Counted(indefinite), vector(B), iterations=60, alpha="auto")
    assert found.status is Status.DIVERGED


def test_a_step_below_the_limit_does_not():
    found = neumann(Counted(A), vector(B), iterations=60, alpha=0.39)
    assert found.status is Status.MAX_ITERATIONS


def test_the_residual_is_that_of_the_sum_without_its_last_term():
    found = neumann(Counted(A), vector(B), iterations=5, alpha=0.1)
    shorter = series(0.1, 5)(A, B)
    assert found.residual == pytest.approx(float((B - A @ shorter).norm() / B.norm()))


def test_it_stops_at_its_tolerance():
    found = neumann(Counted(A), vector(B), iterations=1000, alpha=0.2, tol=1e-6)
    assert found.status is Status.CONVERGED
    assert found.residual <= 1e-6
    assert found.iterations < 100


def test_a_warm_start_is_a_series_of_what_is_left():
    matvec = Counted(A)
    start = numbers(6, seed=3)
    found = neumann(matvec, vector(B), iterations=4, alpha=0.1, start=vector(start))
    assert found.iterations == matvec.calls == 5
    expected = start + series(0.1, 5)(A, B - A @ start)
    assert relative_error(value(found), expected) < 1e-12
