"""Forward mode through the loop: the same numbers as reverse mode, carried along."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import pytest
import torch
from cases import Maml, Point, after_loops, bound, numbers, quadratic, relative_error
from torch import Tensor, nn

from mlograph import Graph
from mlograph.errors import GraphError, NumericError
from mlograph.executor import Executor
from mlograph.language.methods import Forward
from mlograph.plan import Step


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_maml(weight: float, steps: int):
    maml = Maml(weight=weight, steps=steps)
    assert relative_error(maml.hypergradient("forward"), maml.unrolled) < 1e-10


def two_uppers(method: Any, **inner: Any) -> Graph:
    """Two problems, of different sizes, share a lower one; each weighs something else in it."""
    A, B, C = numbers(4, 4, seed=1), numbers(4, 3, seed=2), numbers(4, 2, seed=3)

    def fit(inner: Any, left: Any, right: Any) -> Tensor:
        distance = inner() - torch.tanh(B @ left()) * (1 + (C @ right()).square())
        return (A @ distance).square().mean() + 0.1 * (right().sum() * inner().sin()).sum()

    problem = {"precision": "float64", "optimizer": {"_target_": "sgd", "lr": 0.05}}
    adam = {"_target_": "adam", "lr": 0.1}
    lower = {"unroll_steps": 4, "hypergradient": method, "optimizer": adam, **inner}
    return Graph(
        problems={
            "left": {
                "module": Point(numbers(3, seed=4)),
                "loss": lambda inner: inner().square().sum(),
                **problem,
            },
            "right": {
                "module": Point(numbers(2, seed=5)),
                "loss": lambda inner, right: inner()[0] + right().square().sum(),
                **problem,
            },
            "inner": {"module": Point(numbers(4, seed=6)), "loss": fit, **problem, **lower},
        },
        edges=[
            {"u2l": "left -> inner"},
            {"u2l": "right -> inner"},
            {"l2u": "inner -> left"},
            {"l2u": "inner -> right"},
        ],
        engine={"of": "left", "device": "cpu"},
    )


@pytest.mark.parametrize("upper", ["left", "right"])
def test_it_is_reverse_mode_for_each_of_several_uppers(upper: str):
    found, expected = (after_loops(bound(two_uppers(m)), upper) for m in ("forward", "unroll"))
    assert relative_error(found, expected) < 1e-12


def test_a_pull_runs_nothing_again():
    program = bound(two_uppers("forward"))
    executor = Executor(program)
    for instruction in takewhile(
        lambda one: not isinstance(one, Step) or one.problem == "inner", program.plan.period
    ):
        executor.execute(instruction)
    inner = program.problems["inner"]
    ones = {name: torch.ones_like(x) for name, x in inner.model.params.items()}
    recording = executor._recordings["inner"]
    with torch.autograd.graph.saved_tensors_hooks(refused, refused):
        sent = recording.pull(ones, ("left", "right"))
    assert {target: [*vector] for target, vector in sent.items()} == {
        "left": ["head", "tail"],
        "right": ["head", "tail"],
    }


def refused(tensor: Tensor) -> Tensor:
    raise AssertionError("a graph was made or walked")


class Spare(nn.Module):
    """A point, and a parameter that nobody uses."""

    def __init__(self) -> None:
        super().__init__()
        self.point, self.spare = Point(numbers(4, seed=4)), nn.Parameter(torch.ones(2))

    def forward(self) -> Tensor:
        return self.point()


@pytest.mark.parametrize("method", ["unroll", "forward"])
def test_what_has_no_effect_has_no_gradient_rather_than_one_of_zero(method: str):
    def fit(inner: Any, outer: Any) -> Tensor:
        return (inner() - outer()).square().sum()

    problem = {"precision": "float64", "optimizer": "sgd"}
    graph = Graph(
        problems={
            "outer": {
                "module": Spare(),
                "loss": lambda inner: inner().square().sum(),
                **problem,
            },
            "inner": {
                "module": Point(numbers(4, seed=5)),
                "loss": fit,
                "hypergradient": method,
                **problem,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )
    program = bound(graph)
    after_loops(program, "outer")
    grads = {name: p.grad for name, p in program.problems["outer"].model.params.items()}
    assert [name for name, grad in grads.items() if grad is None] == ["spare"]


def test_an_edge_without_an_effect_is_an_error():
    case = quadratic()

    def deaf(inner: Any, outer: Any) -> Tensor:
        return inner().square().sum() + outer().detach().sum()

    losses = {**case.losses, "inner": deaf}
    program = bound(type(case)(**{**vars(case), "losses": losses}).graph("forward"))
    with pytest.raises(NumericError, match="the edge 'outer -> inner' has no effect"):
        after_loops(program, "outer")


def sized(count: int) -> Graph:
    """An upper problem of so many parameters."""

    def fit(inner: Any, outer: Any) -> Tensor:
        return (inner() - outer().mean()).square().sum()

    problem = {"precision": "float64", "optimizer": "sgd"}
    return Graph(
        problems={
            "outer": {
                "module": Point(torch.zeros(count)),
                "loss": lambda inner: inner().square().sum(),
                **problem,
            },
            "inner": {
                "module": Point(torch.ones(2)),
                "loss": fit,
                "hypergradient": "forward",
                **problem,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )


def test_too_many_upper_parameters_are_refused():
    bound(sized(Forward.LARGEST))
    with pytest.raises(GraphError) as caught:
        bound(sized(Forward.LARGEST + 1))
    assert [str(fault) for fault in caught.value.faults] == [
        "problems.inner.hypergradient: 'forward' would carry 1,001 derivatives through every step "
        "of 'inner', one for each parameter of outer; at most 1,000 (use 'unroll', with "
        "'checkpoint: steps' where memory is short)"
    ]


def test_all_problems_that_it_sends_to_count_together(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Forward, "LARGEST", 5)
    bound(two_uppers("forward"))
    monkeypatch.setattr(Forward, "LARGEST", 4)
    with pytest.raises(GraphError, match=r"would carry 5 derivatives .* of left, right; at most 4"):
        bound(two_uppers("forward"))


def test_it_goes_through_clipping_and_accumulation():
    def hypergradient(method: str) -> Tensor:
        graph = two_uppers(method, gradient_clipping=0.1, gradient_accumulation=2)
        return after_loops(bound(graph), "left")

    assert relative_error(hypergradient("forward"), hypergradient("unroll")) < 1e-12
