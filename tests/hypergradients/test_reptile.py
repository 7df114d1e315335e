"""Reptile: the way from the start of the loop to its end, whatever the upper loss says."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import complaints
from cases import (
    RATE,
    Maml,
    after_loops,
    backward,
    bound,
    numbers,
    parameters,
    quadratic,
    relative_error,
)
from torch import Tensor

from mlograph.executor import Executor
from mlograph.wording import approximations


@pytest.mark.parametrize("weight", [0.0, 0.7])
@pytest.mark.parametrize("steps", [1, 4])
def test_it_is_the_way_that_the_loop_went(weight: float, steps: int):
    maml = Maml(weight=weight, steps=steps)
    assert relative_error(maml.hypergradient("reptile"), maml.reptile) < 1e-12


def test_divided_by_the_rate_it_is_the_sum_of_the_gradients_of_the_loop():
    maml = Maml(steps=3)
    x, total = maml.u, torch.zeros(4, dtype=torch.float64)
    for _ in range(3):
        gradient = maml.A @ x - maml.b
        x, total = x - RATE * gradient, total + gradient
    found = maml.hypergradient({"method": "reptile", "scale": "lr"})
    assert relative_error(found, total) < 1e-12


def test_every_group_has_its_own_rate():
    maml = Maml(steps=1)
    groups = [{"params": "head", "lr": 0.2}]
    inner = {"optimizer": {"_target_": "sgd", "lr": 0.01, "params": groups}}
    program = bound(maml.graph({"method": "reptile", "scale": "lr"}, inner))
    assert relative_error(after_loops(program, "outer"), maml.A @ maml.u - maml.b) < 1e-10


def test_what_the_upper_loss_says_of_the_solution_does_not_matter():
    maml, other = Maml(), Maml(t=numbers(4, seed=77))
    found = maml.hypergradient("reptile")
    assert torch.equal(found, other.hypergradient("reptile"))


def test_what_the_upper_loss_says_of_its_own_parameters_counts():
    maml = Maml()

    def held(inner: Any, outer: Any) -> Tensor:
        return inner().sum() + 0.3 * outer().square().sum()

    found = after_loops(bound(maml.graph("reptile", loss=held)), "outer")
    assert relative_error(found, maml.reptile + 0.6 * maml.u) < 1e-12


def test_a_batch_of_tasks_with_a_rate_of_one_goes_to_the_mean_of_what_they_arrive_at():
    maml = Maml()
    slopes = (numbers(4, seed=8), numbers(4, seed=9))

    def task(inner: Any, batch: Tensor) -> Tensor:
        return 0.5 * inner() @ maml.A @ inner() - batch @ inner()

    data = tuple(slope for slope in slopes for _ in range(maml.steps))
    outer = {"gradient_accumulation": 2, "optimizer": {"_target_": "sgd", "lr": 1.0}}
    program = bound(maml.graph("reptile", {"loss": task, "data": data}, **outer))
    executor = Executor(program)
    for instruction in program.plan.period:
        executor.execute(instruction)
    mean = torch.stack([replace(maml, b=slope).adapted for slope in slopes]).mean(0)
    assert relative_error(parameters(program, "outer"), mean) < 1e-12


def test_frozen_parameters_of_the_start_get_nothing():
    maml = Maml()
    found = after_loops(bound(maml.graph("reptile", freeze="head")), "outer")
    assert relative_error(found, maml.reptile[1:]) < 1e-12


def test_nothing_but_the_gradient_is_changed():
    program = bound(Maml().graph("reptile"))
    after_loops(program, "outer")
    before = {name: parameters(program, name) for name in program.problems}
    backward(Executor(program), program, "outer")
    assert all(torch.equal(parameters(program, name), before[name]) for name in before)


def test_without_a_common_start_it_is_refused():
    assert complaints(lambda: quadratic().graph("reptile").plan()) == [
        "problems.inner.hypergradient: 'reptile' is the way from where a loop starts, and the "
        "loops of 'inner' start nowhere anew (write 'start_from: outer' under 'inner')"
    ]


def test_the_plan_says_that_it_is_no_gradient():
    graph = Maml().graph("reptile")
    assert [*approximations(graph.structure, graph.plan())] == [
        "reptile through inner: the way from the loop's start to its end stands for what the "
        "losses above say of it"
    ]
