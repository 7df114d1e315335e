"""Conjugate gradients as a hypergradient method."""

from __future__ import annotations

import pytest
from cases import (
    CASES,
    Case,
    Maml,
    backward,
    bound,
    damped,
    inverse,
    krylov,
    quadratic,
    relative_error,
)

from mlograph.executor import Executor
from mlograph.plan import Backward


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_as_many_iterations_as_parameters_are_exact(case: Case):
    found = case.hypergradient({"method": "cg", "iterations": 5})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


@pytest.mark.parametrize("iterations", [1, 2, 3])
# Few iterations are no linear map, so a Hessian that is made of such solves has no closed form.
@pytest.mark.parametrize(
    "case", [c for c in CASES if c.partial or not c.nested], ids=lambda case: case.name
)
def test_fewer_are_the_best_of_the_krylov_space(case: Case, iterations: int):
    found = case.hypergradient({"method": "cg", "iterations": iterations})
    assert relative_error(found, case.closed_form(krylov(iterations))) < 1e-10
    assert relative_error(found, case.closed_form(inverse)) > 1e-6


def test_damping_is_added_to_the_hessian():
    case = quadratic()
    found = case.hypergradient({"method": "cg", "iterations": 4, "damping": 2.0})
    assert relative_error(found, case.closed_form(damped(2.0))) < 1e-10


def test_implicit_maml():
    maml = Maml(weight=0.7)
    found = maml.hypergradient({"method": "cg", "iterations": 2})
    assert relative_error(found, maml.implicit(krylov(2))) < 1e-10


def test_a_warm_start_goes_on_where_the_last_solve_ended():
    case = quadratic()
    method = {"method": "cg", "iterations": 2, "warm_start": True}
    program = bound(case.graph(method))
    program.problems["inner"].next_moment()
    executor = Executor(program)
    exact = case.closed_form(inverse)
    errors = [relative_error(backward(executor, program, "outer"), exact) for _ in range(8)]
    assert errors[7] < 1e-3 * errors[0]
    assert errors == sorted(errors, reverse=True)


def test_every_pass_tells_its_residual_and_its_products():
    program = bound(quadratic().graph({"method": "cg", "iterations": 3}))
    program.problems["inner"].next_moment()
    executor = Executor(program)
    executor.execute(Backward("outer"))
    measured = executor.meters["inner"].flush()
    assert measured["products"] == 3
    assert 0 < measured["residual"] < 0.1
