"""Reverse mode through the recorded loop, against loops by hand and finite differences."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from cases import (
    RATE,
    Maml,
    Point,
    after_loops,
    bound,
    hidden_path,
    inverse,
    judged_after_loop,
    numbers,
    positive,
    quadratic,
    relative_error,
    series,
)
from torch import Tensor, nn

from mlograph import Graph
from mlograph.errors import GraphError
from mlograph.executor import Executor

A, B, TARGET = positive(4, seed=1), numbers(4, 4, seed=2), numbers(4, seed=3)
START, SHIFTS = numbers(4, seed=4), numbers(3, 4, seed=5)


def curved(x: Tensor, u: Tensor, shift: Tensor) -> Tensor:
    """A loss whose Hessian and cross-derivative change along the loop."""
    distance = x - torch.tanh(B @ u) - shift
    return 0.5 * distance @ A @ distance + 0.1 * x.pow(4).sum() + 0.1 * (u * x.sin()).sum()


def curved_graph(u: Tensor, method: Any, **inner: Any) -> Graph:
    def inner_loss(inner: Any, outer: Any, batch: Tensor) -> Tensor:
        return curved(inner(), outer(), batch)

    def outer_loss(inner: Any, outer: Any) -> Tensor:
        return (inner() - TARGET).square().sum() + 0.1 * outer().pow(3).sum()

    return Graph(
        problems={
            "outer": {
                "module": Point(u),
                "loss": outer_loss,
                "optimizer": "sgd",
                "precision": "float64",
            },
            "inner": {
                "module": Point(TARGET),
                "loss": inner_loss,
                "data": tuple(SHIFTS),
                "optimizer": {"_target_": "sgd", "lr": 0.05},
                "precision": "float64",
                "unroll_steps": 5,
                "hypergradient": method,
                **inner,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )


def differences(**inner: Any) -> Tensor:
    """The derivative of `judged_after_loop` by central differences."""
    steps = 1e-5 * torch.eye(4, dtype=torch.float64)
    values = [
        judged_after_loop(curved_graph(START + step, "first_order", **inner))
        - judged_after_loop(curved_graph(START - step, "first_order", **inner))
        for step in steps
    ]
    return torch.tensor(values, dtype=torch.float64) / 2e-5


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_maml(weight: float, steps: int):
    maml = Maml(weight=weight, steps=steps)
    assert relative_error(maml.hypergradient("unroll"), maml.unrolled) < 1e-10


@pytest.mark.parametrize("from_upper", [False, True])
def test_it_equals_autograd_through_a_loop_by_hand(from_upper: bool):
    u = START.clone().requires_grad_()
    x, velocity = (
        (u.clone() if from_upper else TARGET.clone().requires_grad_()),
        torch.zeros(4).double(),
    )
    for step in range(5):
        (gradient,) = torch.autograd.grad(curved(x, u, SHIFTS[step % 3]), x, create_graph=True)
        velocity = 0.9 * velocity + gradient + 0.01 * x
        x = x - 0.05 * velocity
    loss = (x - TARGET).square().sum() + 0.1 * u.pow(3).sum()
    (expected,) = torch.autograd.grad(loss, u)
    sgd = {"_target_": "sgd", "lr": 0.05, "momentum": 0.9, "weight_decay": 0.01}
    start = {"start_from": "outer"} if from_upper else {}
    found = after_loops(bound(curved_graph(START, "unroll", optimizer=sgd, **start)), "outer")
    assert relative_error(found, expected) < 1e-10


LOOPS: dict[str, dict[str, Any]] = {
    "sgd": {},
    "from the upper": {"start_from": "outer"},
    "clipped": {"gradient_clipping": 0.5},
    "accumulated": {"gradient_accumulation": 2},
    "scheduled": {"scheduler": {"_target_": "step", "step_size": 2, "gamma": 0.5}},
    "frozen": {"freeze": "head"},
    "nesterov": {
        "optimizer": {"_target_": "sgd", "lr": 0.05, "momentum": 0.9, "nesterov": True},
    },
    "dampened": {
        "optimizer": {
            "_target_": "sgd",
            "lr": 0.05,
            "momentum": 0.9,
            "dampening": 0.5,
            "weight_decay": 0.3,
        },
        "start_from": "outer",
    },
    "groups": {
        "optimizer": {"_target_": "adam", "lr": 0.1, "params": [{"params": "tail", "lr": 0.02}]},
    },
    "adam": {"optimizer": {"_target_": "adam", "lr": 0.1}, "start_from": "outer"},
    "rmsprop": {"optimizer": {"_target_": "rmsprop", "lr": 0.05, "momentum": 0.5}},
}


@pytest.mark.parametrize("name", LOOPS)
def test_it_equals_finite_differences_of_the_plain_loop(name: str):
    found = after_loops(bound(curved_graph(START, "unroll", **LOOPS[name])), "outer")
    assert relative_error(found, differences(**LOOPS[name])) < 1e-5


def test_a_frozen_start_is_not_differentiated():
    maml = Maml()
    found = after_loops(bound(maml.graph("unroll", freeze="head")), "outer")
    assert relative_error(found, maml.unrolled[1:]) < 1e-10


def test_the_recorded_start_is_the_upper_problems_own_even_if_it_is_frozen_there():
    maml = Maml()
    kept = after_loops(bound(maml.graph("unroll", freeze="tail")), "outer")
    assert relative_error(kept, maml.unrolled[:1]) < 1e-10


def test_a_batch_of_tasks_averages_their_hypergradients():
    maml = Maml()
    slopes = (numbers(4, seed=8), numbers(4, seed=9))

    def task(inner: Any, batch: Tensor) -> Tensor:
        return 0.5 * inner() @ maml.A @ inner() - batch @ inner()

    data = [slope for slope in slopes for _ in range(maml.steps)]
    inner = {"loss": task, "data": tuple(data)}
    program = bound(maml.graph("unroll", inner, gradient_accumulation=2))
    executor = Executor(program)
    for instruction in program.plan.period[:-1]:
        executor.execute(instruction)
    outer = program.problems["outer"].model.params.values()
    found = torch.cat([param.grad for param in outer if param.grad is not None])
    expected = sum(Maml(b=slope).unrolled for slope in slopes) / 2
    assert relative_error(found, torch.as_tensor(expected)) < 1e-10


def test_it_goes_through_batch_statistics_that_are_updated_as_it_runs():
    x, y = numbers(8, 3, seed=1), numbers(8, seed=2)

    def fit(inner: Any) -> Tensor:
        return (inner(x).squeeze(1) - y).square().mean()

    def graph(shift: float, method: str) -> Graph:
        torch.manual_seed(0)
        layers = [nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)]
        module = nn.Sequential(*layers).double()
        with torch.no_grad():
            module[0].weight[0, 0] += shift
        problem = {"optimizer": {"_target_": "sgd", "lr": 0.3}, "precision": "float64"}
        return Graph(
            problems={
                "outer": {"module": module, "loss": fit, **problem},
                "inner": {
                    "module": {"copy": "outer"},
                    "start_from": "outer",
                    "loss": fit,
                    "unroll_steps": 3,
                    "hypergradient": method,
                    **problem,
                },
            },
            edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
            engine={"device": "cpu"},
        )

    program = bound(graph(0.0, "unroll"))
    found = after_loops(program, "outer")
    ahead, behind = (judged_after_loop(graph(step, "first_order")) for step in (1e-5, -1e-5))
    assert float(found[0]) == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)
    assert program.problems["inner"].model.module[1].num_batches_tracked == 3


CHECKPOINTS = ("none", "steps", "sqrt")
each_checkpoint = pytest.mark.parametrize("checkpoint", CHECKPOINTS)


@each_checkpoint
@pytest.mark.parametrize("last", [1, 2, 5, 11, 12, 13])
def test_truncated_to_k_steps_it_is_the_series_of_k_terms(last: int, checkpoint: str):
    """Of a loop of twelve, at the solution."""
    case = quadratic()
    method = {"method": "unroll", "truncate": last, "checkpoint": checkpoint}
    found = after_loops(bound(case.graph(method, unroll_steps=12)), "outer")
    assert relative_error(found, case.closed_form(series(RATE, min(last, 12)))) < 1e-10


@each_checkpoint
@pytest.mark.parametrize("last", [1, 3, 5])
def test_truncated_it_does_not_reach_the_start_of_a_longer_loop(last: int, checkpoint: str):
    maml = Maml(weight=0.7, steps=5)
    method = {"method": "unroll", "truncate": last, "checkpoint": checkpoint}
    v = maml.adapted - maml.t
    expected = maml.unrolled if last == 5 else 0.7 * series(RATE, last)(maml.hessian, v)
    assert relative_error(maml.hypergradient(method), expected) < 1e-10


def test_truncated_it_is_refused_where_only_the_start_matters():
    method = {"method": "unroll", "truncate": 2}
    bound(Maml(steps=2).graph(method))
    with pytest.raises(GraphError) as caught:
        bound(Maml(steps=3).graph(method))
    assert [str(fault) for fault in caught.value.faults] == [
        "problems.inner.hypergradient.truncate: the last steps of a loop of 3 do not reach its "
        "start, and the loss of 'inner' does not read 'outer' in any other way (add a term such "
        "as mlograph.losses.proximal, or write 'truncate: 3')"
    ]


@each_checkpoint
@pytest.mark.parametrize("name", LOOPS)
def test_checkpoints_change_nothing_but_the_memory(name: str, checkpoint: str):
    method = {"method": "unroll", "checkpoint": checkpoint}
    found = after_loops(bound(curved_graph(START, method, **LOOPS[name])), "outer")
    expected = after_loops(bound(curved_graph(START, "unroll", **LOOPS[name])), "outer")
    assert relative_error(found, expected) < 1e-12


def test_the_longer_the_nearer_to_the_whole_loop():
    whole = after_loops(bound(curved_graph(START, "unroll", unroll_steps=20)), "outer")
    errors = [
        relative_error(
            after_loops(
                bound(curved_graph(START, {"method": "unroll", "truncate": k}, unroll_steps=20)),
                "outer",
            ),
            whole,
        )
        for k in (1, 5, 10, 19, 20)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-12


def test_more_steps_come_nearer_to_the_implicit_function_theorem():
    case = quadratic()
    exact = case.closed_form(inverse)
    errors = [
        relative_error(after_loops(bound(case.graph("unroll", steps)), "outer"), exact)
        for steps in (1, 10, 100, 400)
    ]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 1e-8


def test_an_optimiser_that_torch_cannot_differentiate_is_refused():
    graph = curved_graph(START, "unroll", optimizer="torch.optim.Adafactor")
    with pytest.raises(GraphError) as caught:
        bound(graph)
    assert [str(fault) for fault in caught.value.faults] == [
        "problems.inner.optimizer: torch cannot differentiate a step of Adafactor "
        "('unroll' needs an optimiser with 'differentiable', as Adam has it)"
    ]


def test_a_problem_without_an_inner_loop_is_refused():
    # Nothing lies above m, so no loop of it ever begins; yet k's hypergradient goes through it.
    with pytest.raises(GraphError) as caught:
        bound(hidden_path(partial=True).graph("unroll"))
    assert [str(fault) for fault in caught.value.faults] == [
        "problems.m.hypergradient: 'unroll' needs an inner loop to record, and nothing lies above "
        "'m' (use cg or another implicit method)"
    ]
