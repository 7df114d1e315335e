"""Graphs in which a lower problem answers to several uppers, run as a whole."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import failure, graph, problem, trained
from torch import Tensor, nn

from mlograph import Graph
from mlograph.envs import SineEnv
from mlograph.problem import Problem
from mlograph.views import View


class Point(nn.Module):
    """One number, times the input."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.w


def value(view: View) -> Tensor:
    return view.parameters()[0].squeeze()


def between(lower: View, first: View, second: View) -> Tensor:
    return (value(lower) * value(first) - value(second)) ** 2 + value(lower) ** 2


def towards_one(first: View, lower: View) -> Tensor:
    return (value(lower) - 1) ** 2 + value(first) ** 2


def towards_minus_one(second: View, lower: View) -> Tensor:
    return (value(lower) + 1) ** 2 + value(second) ** 2


EDGES = [
    ("u2l", "first", "lower"),
    ("u2l", "second", "lower"),
    ("l2u", "lower", "first"),
    ("l2u", "lower", "second"),
]


def two_uppers(method: str, **rest: Any) -> Graph:
    return graph(
        {
            "first": problem(Point(), towards_one),
            "second": problem(Point(), towards_minus_one),
            "lower": problem(Point(), between, unroll_steps=3, hypergradient=method),
        },
        edges=EDGES,
        engine={"of": "second", **rest.pop("engine", {})},
        **rest,
    )


def test_an_upper_that_has_moved_does_not_spoil_the_recording_for_the_next():
    """`second` differentiates the loop as it was run, before `first` took its step."""
    result = trained(two_uppers("unroll"))
    first = torch.ones((), dtype=torch.float64)
    second = torch.ones((), dtype=torch.float64, requires_grad=True)
    lower = torch.ones((), dtype=torch.float64)
    for _ in range(3):
        slope = 2 * first * (lower * first - second) + 2 * lower
        lower = lower - 0.1 * slope
    loss = (lower + 1) ** 2 + second**2
    (gradient,) = torch.autograd.grad(loss, second)
    expected = (second - 0.1 * gradient).detach()
    torch.testing.assert_close(result.modules["second"].w.detach().squeeze(), expected)


def fit(view: View, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return ((view(x) - y) ** 2).mean()


def fit_near_both(lower: View, first: View, second: View, batch: Any) -> Tensor:
    return fit(lower, batch) + 0.1 * (value(lower) - value(first) - value(second)) ** 2


def fit_small_first(first: View, lower: View, batch: Any) -> Tensor:
    return fit(lower, batch) + value(first) ** 2


def fit_small_second(second: View, lower: View, batch: Any) -> Tensor:
    return fit(lower, batch) + value(second) ** 2


def test_validation_moves_no_upper():
    moved: list[float] = []

    def watch(problem: Problem) -> None:
        moved.append(float(problem.model.params["w"].detach()))

    rate = {"optimizer": {"_target_": "sgd", "lr": 0.01}}
    watched = {"callbacks": {"after_update": watch}}
    declared = graph(
        {
            "first": problem(Point(), fit_small_first, data="env.query", **rate, **watched),
            "second": problem(Point(), fit_small_second, data="env.query", **rate),
            "lower": problem(Point(), fit_near_both, data="env.support", **rate),
        },
        edges=EDGES,
        env=SineEnv(),
        engine={
            "of": "second",
            "validate": {"_target_": "mlograph.validation.Adaptation", "tasks": 5, "every": 1},
        },
    )
    trained(declared)
    assert len(moved) == 1


def concave(lower: View, upper: View) -> Tensor:
    return -(value(lower) ** 2) + value(lower) * value(upper)


def near_three(upper: View, lower: View) -> Tensor:
    return (value(lower) - 3) ** 2 + value(upper) ** 2


def events(method: object) -> list[str]:
    declared = graph(
        {
            "upper": problem(Point(), near_three),
            "lower": problem(Point(), concave, hypergradient=method),
        },
        edges=[("u2l", "upper", "lower"), ("l2u", "lower", "upper")],
        engine={"log_every": 1},
        steps=2,
    )
    return [record.text for record in trained(declared).records if record.kind == "event"]


def test_negative_curvature_is_told_once_and_counted():
    (told,) = events("cg")
    assert told.startswith("the linear system of 'lower' met negative curvature")


def test_what_is_approximate_is_told_when_a_run_begins():
    assert events("darts")[0].startswith("approximate: darts")
    damped = {"method": "exact", "damping": 0.5}
    assert events(damped)[0] == (
        "approximate: exact through lower: damping 0.5 is added to the Hessian"
    )


def test_first_order_names_itself_where_nothing_comes_back():
    def only_lower(lower: View) -> Tensor:
        return (value(lower) - 3) ** 2

    declared = graph(
        {
            "upper": problem(Point(), only_lower),
            "lower": problem(Point(), concave, hypergradient="first_order"),
        },
        edges=[("u2l", "upper", "lower"), ("l2u", "lower", "upper")],
    )
    message = failure(lambda: trained(declared))
    assert "'first_order' sends nothing back through 'lower'" in message


@pytest.mark.parametrize("warmup", [2_000_000])
def test_a_warm_up_too_long_to_lay_out_is_refused(warmup: int):
    declared = two_uppers("cg")
    problems = {**declared.spec.problems}
    problems["lower"] = problems["lower"].model_copy(update={"warmup_steps": warmup})
    with pytest.raises(Exception, match="the warm-up would take 2,000,000 backward passes"):
        Graph(problems=problems, edges=EDGES, engine={"of": "second"}).plan()
