"""Gradient descent on a linear system."""

from __future__ import annotations

import pytest
from cases import numbers, relative_error, series
from solver_cases import A, B, Counted, value, vector, with_eigenvalues
from torch import Tensor

from mlograph.linear import Status, richardson

EVERYWHERE = {"head": 0.1, "tail": 0.1}


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_from_zero_it_is_a_neumann_series(steps: int):
    matvec = Counted(A)
    found = richardson(matvec, vector(B), steps=steps, rates=EVERYWHERE)
    assert found.iterations == matvec.calls == steps - 1
    assert relative_error(value(found), series(0.1, steps)(A, B)) < 1e-12


def test_from_elsewhere_it_is_one_of_what_is_left():
    matvec, start = Counted(A), numbers(6, seed=3)
    found = richardson(matvec, vector(B), steps=3, rates=EVERYWHERE, start=vector(start))
    assert found.iterations == matvec.calls == 3
    expected = start + series(0.1, 3)(A, B - A @ start)
    assert relative_error(value(found), expected) < 1e-12


def test_every_parameter_has_its_own_rate():
    found = richardson(Counted(A), vector(B), steps=1, rates={"head": 0.1, "tail": 2.0})
    assert value(found).tolist() == [0.1 * float(B[0]), *(2.0 * B[1:]).tolist()]


def test_the_residual_is_that_before_the_last_step():
    found = richardson(Counted(A), vector(B), steps=4, rates=EVERYWHERE)
    before = series(0.1, 3)(A, B)
    assert found.residual == pytest.approx(float((B - A @ before).norm() / B.norm()))


@pytest.mark.parametrize(
    "matrix", [A, with_eigenvalues(5, 4, 3, 2, 1, -3)], ids=["far", "negative"]
)
def test_steps_that_lead_away_say_so(matrix: Tensor):
    rates = {"head": 0.45, "tail": 0.45}
    found = richardson(Counted(matrix), vector(B), steps=60, rates=rates)
    assert found.status is Status.DIVERGED


def test_single_steps_that_lead_away_say_so_in_time():
    rates, start, statuses = {"head": 0.5, "tail": 0.5}, None, []
    for _ in range(60):
        found = richardson(Counted(A), vector(B), steps=1, rates=rates, start=start)
        start = found.value
        statuses.append(found.status)
    assert statuses[0] is Status.MAX_ITERATIONS
    assert statuses[-1] is Status.DIVERGED
