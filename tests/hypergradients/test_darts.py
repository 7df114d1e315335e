"""Finite differences with the identity for the inverse Hessian."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import (
    CASES,
    RATE,
    Case,
    Point,
    after_loops,
    at_rest,
    backward,
    bound,
    multiple,
    numbers,
    parameters,
    quadratic,
    relative_error,
)
from torch import Tensor, nn

from mlograph import Graph
from mlograph.executor import Executor
from mlograph.problem import Problem
from mlograph.trees import Vector


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize(("scale", "factor"), [("one", 1.0), ("lr", RATE)])
def test_the_adjoint_stands_for_the_inverse(case: Case, scale: str, factor: float):
    found = case.hypergradient({"method": "darts", "scale": scale})
    limit = 1e-3 if case.bent else 1e-10
    assert relative_error(found, case.closed_form(multiple(factor))) < limit


@pytest.mark.parametrize("epsilon", [1e-3, 1.0, 100.0])
def test_central_differences_of_a_quadratic_are_exact_for_any_epsilon(epsilon: float):
    case = quadratic()
    found = case.hypergradient({"method": "darts", "epsilon": epsilon})
    assert relative_error(found, case.closed_form(multiple(1.0))) < 1e-10


def test_parameters_are_evaluated_epsilon_away_on_either_side():
    case = quadratic()
    seen: list[Tensor] = []

    def watched(inner: Any, outer: Any) -> Tensor:
        seen.append(inner().detach())
        return case.losses["inner"](inner, outer)

    losses = {**case.losses, "inner": watched}
    shaken = Case("", "outer", case.points, losses, case.edges, multiple)
    shaken.hypergradient({"method": "darts", "epsilon": 0.01})
    ahead, behind = (point - case.points["inner"] for point in seen)
    assert torch.allclose(ahead, -behind, rtol=1e-10)
    assert float(ahead.norm()) == pytest.approx(0.01)


def test_scale_lr_is_one_unrolled_gradient_step():
    case = quadratic()
    unrolled = after_loops(bound(case.graph("unroll")), "outer")
    found = case.hypergradient({"method": "darts", "scale": "lr"})
    assert relative_error(found, unrolled) < 1e-10


def test_scale_lr_reads_the_present_rate_of_every_parameter_group():
    case = quadratic()
    program = bound(case.graph({"method": "darts", "scale": "lr"}))
    inner = program.problems["inner"]
    head, tail = inner.model.params.values()
    inner.optimizer = torch.optim.SGD([{"params": [tail], "lr": 0.5}, {"params": [head]}], lr=0.1)
    inner.optimizer.param_groups[1]["lr"] = 0.2
    rates = torch.tensor([0.2, 0.5, 0.5, 0.5], dtype=torch.float64)
    expected = case.closed_form(lambda H, v: rates * v)
    assert relative_error(at_rest(program, "outer"), expected) < 1e-10


def test_a_zero_adjoint_gives_a_zero_answer():
    case = quadratic()
    losses = {**case.losses, "outer": lambda inner, outer: 0 * inner().sum() + outer() @ outer()}
    program = bound(Case("", "outer", case.points, losses, case.edges, multiple).graph("darts"))
    assert torch.equal(at_rest(program, "outer"), 2 * case.points["outer"])


def dropped(method: str) -> Graph:
    """The inner loss is ⟨u, dropout(x)²⟩: ∂²L/∂u∂x · v = 2·mask·x·v depends on the mask."""
    noise = nn.Dropout(0.5)

    def inner_loss(inner: Any, outer: Any) -> Tensor:
        return (outer() * noise(inner()).square()).sum()

    def outer_loss(inner: Any) -> Tensor:
        return inner().sum()

    problem = {"optimizer": {"_target_": "sgd", "lr": 0.1}, "precision": "float64"}
    return Graph(
        problems={
            "outer": {"module": Point(torch.ones(40).double()), "loss": outer_loss, **problem},
            "inner": {
                "module": Point(numbers(40, seed=1)),
                "loss": inner_loss,
                "hypergradient": method,
                **problem,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )


def test_both_evaluations_draw_the_masks_of_the_step():
    program = bound(dropped("darts"))
    inner = program.problems["inner"]
    moment = inner.next_moment()
    with moment.random.replayed(inner.device):
        mask = nn.functional.dropout(torch.ones(40, dtype=torch.float64), 0.5)
    torch.rand(3)  # The generator moves on between the step and the pull.
    x = parameters(program, "inner")
    assert 10 < int((mask > 0).sum()) < 30
    found = backward(Executor(program), program, "outer")
    assert relative_error(found, -2 * mask.square() * x) < 1e-10


def test_only_terms_that_read_an_upper_problem_are_evaluated():
    case = quadratic()
    called = []

    def fit(inner: Any) -> Tensor:
        called.append("fit")
        return inner().square().sum()

    def coupling(inner: Any, outer: Any) -> Tensor:
        called.append("coupling")
        return (inner().sum() * outer()).sum()

    losses: dict[str, Any] = {**case.losses, "inner": [fit, coupling]}
    found = Case("", "outer", case.points, losses, case.edges, multiple).hypergradient("darts")
    assert called == ["coupling", "coupling"]
    assert found.isfinite().all()


def test_parameters_never_move(monkeypatch: pytest.MonkeyPatch):
    program = bound(quadratic().graph("darts"))
    inner = program.problems["inner"]
    seen: list[Vector] = []
    evaluate = Problem.evaluate

    def watched(self: Problem, *args: Any) -> Any:
        seen.append({name: x.detach().clone() for name, x in inner.model.params.items()})
        return evaluate(self, *args)

    monkeypatch.setattr(Problem, "evaluate", watched)
    at_rest(program, "outer")
    assert len(seen) == 3
    assert all(torch.equal(one[name], seen[0][name]) for one in seen for name in one)
