"""The identity for the inverse Hessian, with the exact cross-derivative."""

from __future__ import annotations

import pytest
import torch
from cases import (
    CASES,
    RATE,
    Case,
    Maml,
    after_loops,
    bound,
    flat,
    multiple,
    quadratic,
    relative_error,
)

from mlograph.executor import Executor
from mlograph.hypergradients.identity import Identity
from mlograph.language import methods
from mlograph.linear import System
from mlograph.plan import Backward


@pytest.mark.parametrize(("scale", "factor"), [("lr", RATE), (0.3, 0.3)])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_it_is_a_multiple_of_the_adjoint(case: Case, scale: str | float, factor: float):
    found = case.hypergradient({"method": "identity", "scale": scale})
    assert relative_error(found, case.closed_form(multiple(factor))) < 1e-10


def test_at_a_solution_it_is_one_unrolled_step():
    case = quadratic()
    unrolled = after_loops(bound(case.graph("unroll", unroll_steps=1)), "outer")
    found = after_loops(bound(case.graph("identity", unroll_steps=1)), "outer")
    assert relative_error(found, unrolled) < 1e-10


def test_implicit_maml():
    maml = Maml(weight=0.7)
    found = maml.hypergradient({"method": "identity", "scale": 0.2})
    assert relative_error(found, maml.implicit(multiple(0.2))) < 1e-10


def test_every_parameter_has_its_present_rate():
    program = bound(quadratic().graph("identity"))
    inner = program.problems["inner"]
    moment = inner.next_moment()
    head, tail = inner.model.params.values()
    group = inner.optimizer.param_groups[0]
    inner.optimizer.param_groups[:] = [
        {**group, "params": [head], "lr": 0.5},
        {**group, "params": [tail], "lr": 2.0},
    ]
    residual = inner.residual(moment)
    adjoint = {name: torch.ones_like(x) for name, x in inner.model.params.items()}
    method = Identity(methods.Identity())
    found = method.solve(inner, System(residual.vjp, residual.jvp), adjoint)
    assert flat(found.value.values()).tolist() == [0.5, 2.0, 2.0, 2.0]


def test_it_takes_no_product():
    program = bound(quadratic().graph("identity"))
    program.problems["inner"].next_moment()
    executor = Executor(program)
    executor.execute(Backward("outer"))
    assert executor.meters["inner"].flush()["products"] == 0
