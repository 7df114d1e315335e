"""Lower problems brought to rest."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import bound, pair, problem
from cases import (
    CASES,
    GENERAL,
    Case,
    Logistic,
    Point,
    at_rest,
    nested,
    numbers,
    parameters,
    positive,
    relative_error,
)
from torch import Tensor, nn

from mlograph.gradcheck.rest import Rest, settle
from mlograph.program import Program


def moved(case: Case, by: float) -> Case:
    """The same problems, all but the upper one away from their solutions."""
    points = {
        name: point if name == case.upper else point + by * numbers(len(point), seed=11)
        for name, point in case.points.items()
    }
    return Case(**{**vars(case), "points": points})


@pytest.mark.parametrize(
    "case", [*CASES[:6], *GENERAL, nested(partial=False)], ids=lambda c: c.name
)
def test_problems_come_to_rest_where_they_are_solved(case: Case):
    program = bound(moved(case, 0.5).graph("exact"))
    rests = settle(program, case.upper)
    assert all(rest.found and rest.minimum for rest in rests)
    for rest in rests:
        found = parameters(program, rest.problem)
        assert relative_error(found, case.points[rest.problem]) < 1e-9


def test_what_rests_does_not_move():
    program = bound(nested(partial=False).graph("exact"))
    before = parameters(program, "middle")
    assert not any(rest.moved for rest in settle(program, "top"))
    assert torch.equal(parameters(program, "middle"), before)


def test_newtons_method_goes_downhill_from_afar():
    logistic = Logistic()
    program = bound(moved(logistic.case(), 30.0).graph("exact"))
    (rest,) = settle(program, "penalties")
    assert rest.found
    assert relative_error(parameters(program, "weights"), logistic.solved(logistic.penalty)) < 1e-9


def lower(loss: Any, start: Tensor) -> tuple[Program, Rest]:
    """What becomes of a lower problem."""

    def read(lower: Any, upper: Any) -> Tensor:
        return loss(lower()) + 0.0 * upper().sum()

    program = bound(
        pair(
            problem(Point(numbers(2, seed=1)), lambda lower: lower().sum()),
            problem(Point(start), read, hypergradient="exact"),
        )
    )
    (rest,) = settle(program, "upper")
    return program, rest


def two_valleys(x: Tensor) -> Tensor:
    return (x.square() - 1.0).square().sum()


def test_a_ridge_is_left():
    program, rest = lower(two_valleys, torch.tensor([0.1, -0.2], dtype=torch.float64))
    assert rest.found
    assert rest.minimum
    assert parameters(program, "lower").tolist() == pytest.approx([1.0, -1.0])


def test_a_saddle_that_is_no_minimum_is_told():
    _, rest = lower(two_valleys, torch.zeros(2, dtype=torch.float64))
    assert rest.found
    assert not rest.minimum


def test_a_slope_without_an_end_is_told():
    _, rest = lower(lambda x: (-x).exp().sum(), torch.zeros(2, dtype=torch.float64))
    assert not rest.found


def test_numbers_that_are_not_finite_are_told():
    _, rest = lower(lambda x: x.log().sum(), -torch.ones(2, dtype=torch.float64))
    assert not rest.found


@pytest.mark.parametrize("size", [40, 200])
def test_large_problems_are_solved_by_products_alone(size: int):
    A, b = positive(size, seed=1, condition=50.0), numbers(size, seed=2)
    start = numbers(size, seed=3)
    program, rest = lower(lambda x: 0.5 * x @ A @ x - b @ x + 0.1 * x.pow(4).sum(), start)
    assert rest.found
    x = parameters(program, "lower")
    assert float((A @ x - b + 0.4 * x.pow(3)).norm()) < 1e-8


def test_rivals_take_turns_until_neither_moves():
    """Two problems in each other's losses: x = a(u + y), y = a(u + x) has x = y = au/(1 − a)."""
    from builders import graph

    def first_loss(first: Any, second: Any, upper: Any) -> Tensor:
        return 0.5 * (first() - 0.4 * (second() + upper())).square().sum()

    def second_loss(second: Any, first: Any, upper: Any) -> Tensor:
        return 0.5 * (second() - 0.4 * (first() + upper())).square().sum()

    u = numbers(3, seed=1)
    program = bound(
        graph(
            {
                "upper": problem(Point(u), lambda first, second: (first() * second()).sum()),
                "first": problem(Point(0 * u), first_loss, hypergradient="exact"),
                "second": problem(Point(0 * u), second_loss, hypergradient="exact"),
            },
            edges=[
                ("u2l", "upper", "first"),
                ("u2l", "upper", "second"),
                ("u2l", "first", "second"),
                ("u2l", "second", "first"),
                ("l2u", "first", "upper"),
                ("l2u", "second", "upper"),
            ],
            engine={"of": "upper"},
        )
    )
    rests = settle(program, "upper")
    assert all(rest.found for rest in rests)
    assert relative_error(parameters(program, "first"), 0.4 / 0.6 * u) < 1e-6
    assert relative_error(parameters(program, "second"), 0.4 / 0.6 * u) < 1e-6


def test_dropout_masks_and_statistics_stay_as_they_are():
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 1))
    x = numbers(8, 3, seed=1)

    def fit(lower: Any, upper: Any) -> Tensor:
        decay = sum(p.square().sum() for p in lower.parameters())
        return (lower(x) - upper().sum()).square().mean() + decay

    program = bound(
        pair(
            problem(Point(numbers(2, seed=1)), lambda lower: lower(x).mean()),
            problem(layers, fit, hypergradient="exact"),
        )
    )
    before = [layers[1].running_mean.clone(), torch.get_rng_state()]
    (rest,) = settle(program, "upper")
    assert rest.found
    assert torch.equal(layers[1].running_mean, before[0])
    assert torch.equal(torch.get_rng_state(), before[1])
    assert at_rest(program, "upper").shape == (2,)
