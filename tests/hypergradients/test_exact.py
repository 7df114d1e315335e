"""The dense inverse: the closed form itself, Newton's method and finite differences agree."""

from __future__ import annotations

import pytest
import torch
from cases import (
    CASES,
    Case,
    Logistic,
    Maml,
    bound,
    inverse,
    parameters,
    quadratic,
    relative_error,
)
from torch import Tensor

from mlograph.executor import Executor
from mlograph.hypergradients import METHODS, Response
from mlograph.language import methods


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_the_implicit_function_theorem(case: Case):
    assert relative_error(case.hypergradient("exact"), case.closed_form(inverse)) < 1e-8


def test_it_agrees_with_finite_differences_of_the_solved_problem():
    problem = Logistic()

    def solved(penalty: Tensor) -> Tensor:
        return problem.outer(problem.solved(penalty))

    steps = 1e-5 * torch.eye(4, dtype=torch.float64)
    differences = [
        (solved(problem.penalty + step) - solved(problem.penalty - step)) / 2e-5 for step in steps
    ]
    found = problem.case().hypergradient("exact")
    assert relative_error(found, torch.stack(differences)) < 1e-8


def test_an_inner_loop_from_anywhere_converges_to_it():
    case = quadratic()
    started = {**case.points, "inner": torch.ones(4, dtype=torch.float64)}
    graph = Case("", case.upper, started, case.losses, case.edges, case.closed_form).graph(
        "exact", unroll_steps=800
    )
    program = bound(graph)
    executor = Executor(program)
    for instruction in program.plan.period:
        executor.execute(instruction)
    moved = (case.points["outer"] - parameters(program, "outer")) / 0.05
    assert relative_error(parameters(program, "inner"), case.points["inner"]) < 1e-12
    assert relative_error(moved, case.closed_form(inverse)) < 1e-12


def test_implicit_maml_takes_the_end_of_the_loop_for_its_solution():
    maml = Maml(weight=0.7)
    assert relative_error(maml.hypergradient("exact"), maml.implicit(inverse)) < 1e-10


def test_parameters_that_the_loss_never_touches_are_left_out():
    case = quadratic()
    losses = {
        "inner": lambda inner, outer: (inner.parameters()[1] - outer()).square().sum(),
        "outer": lambda inner: inner().square().sum(),
    }
    points = {"outer": torch.ones(3), "inner": torch.arange(4.0)}
    points = {name: point.double() for name, point in points.items()}
    found = Case("", "outer", points, losses, case.edges, case.closed_form).hypergradient("exact")
    assert found.tolist() == [2.0, 4.0, 6.0]


def test_damping_is_added_to_the_diagonal():
    program = bound(Maml(weight=0.7).graph("exact"))
    inner = program.problems["inner"]
    moment = inner.next_moment()
    response = Response(inner, moment, lambda: inner.residual(moment))
    adjoint = {name: torch.ones_like(x) for name, x in inner.model.params.items()}
    # H of the task is A + 0.7·I, and the cross-derivative −0.7·I.
    found = METHODS["exact"](methods.Exact(damping=1e6)).pull(response, adjoint, ("outer",))
    assert found.solution is not None
    assert found.solution.iterations == 4
    total = torch.cat([*found.sent["outer"].values()])
    assert torch.allclose(total, torch.full_like(total, 0.7e-6), rtol=1e-5)
