"""The upper loss as a small addition to the lower one."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from cases import (
    CASES,
    RATE,
    Case,
    Logistic,
    Maml,
    Point,
    at_rest,
    backward,
    bound,
    inverse,
    multiple,
    numbers,
    parameters,
    positive,
    quadratic,
    relative_error,
    series,
)
from torch import Tensor, nn

from mlograph import Graph
from mlograph.errors import NumericError
from mlograph.executor import Executor
from mlograph.problem import Problem
from mlograph.program import Program

# Of a quadratic loss, gradients are linear: no penalty is too heavy.
QUADRATIC = [c for c in CASES if c.name in ("quadratic", "chain", "diamond", "nested, partial")]


def penalty(**options: Any) -> dict[str, Any]:
    return {"method": "penalty", "rate": RATE, **options}


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("steps", [1, 2, 7])
@pytest.mark.parametrize("case", QUADRATIC, ids=lambda case: case.name)
def test_k_steps_are_k_terms_of_the_series(case: Case, steps: int, symmetric: bool):
    found = case.hypergradient(penalty(steps=steps, symmetric=symmetric))
    assert relative_error(found, case.closed_form(series(RATE, steps))) < 1e-10


def test_many_steps_are_the_implicit_gradient():
    found = quadratic().hypergradient(penalty(steps=200, rate=0.3))
    assert relative_error(found, quadratic().closed_form(inverse)) < 1e-10


def test_a_weight_is_no_matter_where_gradients_are_linear():
    expected = quadratic().closed_form(series(RATE, 5))
    for weight in (0.01, 1.0, 1e3):
        found = quadratic().hypergradient(penalty(steps=5, weight=weight))
        assert relative_error(found, expected) < 1e-10


@pytest.mark.parametrize(("symmetric", "order"), [(False, 1), (True, 2)])
def test_the_bias_of_a_curved_loss_falls_with_the_weight(symmetric: bool, order: int):
    case = Logistic().case()
    errors = []
    for weight in (10.0, 20.0, 40.0, 80.0):
        found = case.hypergradient(penalty(steps=400, rate=0.5, weight=weight, symmetric=symmetric))
        errors.append(relative_error(found, case.closed_form(inverse)))
    assert errors[0] > 1e-5
    for before, after in pairwise(errors):
        assert before / after == pytest.approx(2**order, rel=0.1)


def test_the_rate_can_be_the_present_one_of_every_parameter_group():
    case = quadratic()
    program = bound(case.graph(penalty(steps=2, rate="lr")))
    inner = program.problems["inner"]
    head, tail = inner.model.params.values()
    inner.optimizer = torch.optim.SGD([{"params": [tail], "lr": 0.05}, {"params": [head]}], lr=0.1)
    inner.optimizer.param_groups[1]["lr"] = 0.02
    rates = torch.tensor([0.02, 0.05, 0.05, 0.05], dtype=torch.float64).diag()

    def two_steps(H: Tensor, v: Tensor) -> Tensor:
        return rates @ v + rates @ (v - H @ (rates @ v))

    assert relative_error(at_rest(program, "outer"), case.closed_form(two_steps)) < 1e-10


def twice(options: dict[str, Any]) -> tuple[Tensor, Program]:
    """The hypergradient of a second pass at the same point."""
    program = bound(quadratic().graph(options))
    program.problems["inner"].next_moment()
    executor = Executor(program)
    backward(executor, program, "outer")
    return backward(executor, program, "outer"), program


@pytest.mark.parametrize("symmetric", [False, True])
def test_a_warm_start_goes_on_where_the_last_pull_ended(symmetric: bool):
    expected = quadratic().closed_form(series(RATE, 6))
    found, _ = twice(penalty(steps=3, symmetric=symmetric, warm_start=True))
    assert relative_error(found, expected) < 1e-10
    again, _ = twice(penalty(steps=3, symmetric=symmetric))
    assert relative_error(again, quadratic().closed_form(series(RATE, 3))) < 1e-10


@pytest.mark.parametrize("size", [1e-200, 1e-12, 1e12])
def test_the_length_of_the_upper_gradient_is_no_matter(size: float):
    """With a fixed λ, a short one would drown in rounding errors."""
    case = Logistic().case()
    outer = case.losses["penalties"]

    def scaled(weights: Any) -> Tensor:
        return size * outer(weights)

    losses = {**case.losses, "penalties": scaled}
    found = replace(case, losses=losses).hypergradient(penalty(steps=20))
    assert relative_error(found / size, case.hypergradient(penalty(steps=20))) < 1e-6


def test_the_residual_of_the_system_is_told():
    case = quadratic()
    program = bound(case.graph(penalty(steps=3)))
    program.problems["inner"].next_moment()
    executor = Executor(program)
    backward(executor, program, "outer")
    step = torch.eye(4, dtype=torch.float64) - RATE * positive(4, seed=1)
    decay = torch.linalg.matrix_power(step, 3)
    x, u = case.points["inner"].clone().requires_grad_(), case.points["outer"]
    (v,) = torch.autograd.grad(case.losses["outer"](lambda: x, lambda: u), x)
    measured = executor.meters["inner"].flush()
    assert measured["residual"] == pytest.approx(float((decay @ v).norm() / v.norm()))
    assert measured["products"] == 3


def test_a_loop_that_is_not_at_its_end_counts_as_if_it_were():
    """What is left of its gradient would else come in 100 times over."""
    case = Maml(weight=0.7)
    found = case.hypergradient(penalty(steps=5))
    assert relative_error(found, case.implicit(series(RATE, 5))) < 1e-10


def test_a_zero_adjoint_gives_a_zero_answer():
    case = quadratic()
    losses = {**case.losses, "outer": lambda inner, outer: 0 * inner().sum() + outer() @ outer()}
    graph = Case("", "outer", case.points, losses, case.edges, multiple).graph(penalty())
    assert torch.equal(at_rest(bound(graph), "outer"), 2 * case.points["outer"])


def test_steps_that_are_too_long_are_told():
    """λmax of the quadratic is 5, so a rate of 0.6 has 1 − rate·λ = −2."""
    program = bound(quadratic().graph(penalty(rate=0.6, steps=5)))
    program.problems["inner"].next_moment()
    executor = Executor(program)
    backward(executor, program, "outer")
    assert any("'inner' diverged: the step is too long" in text for text in executor.remarks)


def test_a_rate_that_diverges_is_no_number_that_is_used():
    with pytest.raises(NumericError, match="is not finite"):
        quadratic().hypergradient(penalty(rate=100.0, steps=400))


def test_all_evaluations_draw_the_masks_of_the_step():
    """One step on ⟨u, dropout(x)²⟩: λ(mask·(x + d))² − λ(mask·x)² with d = −rate/λ, λ = 10·√40."""
    noise = nn.Dropout(0.5)

    def inner_loss(inner: Any, outer: Any) -> Tensor:
        return (outer() * noise(inner()).square()).sum()

    problem = {"optimizer": {"_target_": "sgd", "lr": 0.1}, "precision": "float64"}
    graph = Graph(
        problems={
            "outer": {
                "module": Point(torch.ones(40).double()),
                "loss": lambda inner: inner().sum(),
                **problem,
            },
            "inner": {
                "module": Point(numbers(40, seed=1)),
                "loss": inner_loss,
                "hypergradient": penalty(steps=1, weight=10.0),
                **problem,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )
    program = bound(graph)
    inner = program.problems["inner"]
    moment = inner.next_moment()
    with moment.random.replayed(inner.device):
        mask = nn.functional.dropout(torch.ones(40, dtype=torch.float64), 0.5)
    torch.rand(3)  # The generator moves on between the step and the pull.
    x = parameters(program, "inner")
    found = backward(Executor(program), program, "outer")
    weight = 10.0 * 40**0.5
    expected = weight * mask.square() * ((x - RATE / weight).square() - x.square())
    assert relative_error(found, expected) < 1e-10


@pytest.mark.parametrize(("options", "gradients"), [({}, 5), ({"symmetric": True}, 9)])
def test_it_costs_as_many_gradients_as_it_says(
    options: dict[str, Any], gradients: int, monkeypatch: pytest.MonkeyPatch
):
    evaluated: list[str] = []
    evaluate = Problem.evaluate

    def watched(self: Problem, *args: Any) -> Any:
        evaluated.append(self.name)
        return evaluate(self, *args)

    monkeypatch.setattr(Problem, "evaluate", watched)
    quadratic().hypergradient(penalty(steps=4, **options))
    assert evaluated.count("inner") == gradients
