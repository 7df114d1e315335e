"""A run lent to a validator: what is measured, and that no trace of it is left."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from builders import (
    Batch,
    Batches,
    bound,
    failure,
    graph,
    line,
    pair,
    points,
    problem,
    trained,
    weights,
)
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

from mlograph import Graph
from mlograph.components import Imports, build
from mlograph.envs import SineEnv
from mlograph.executor import Executor
from mlograph.language.spec import Component
from mlograph.losses import proximal
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.trial import Trial
from mlograph.validation import Adaptation, Evaluate
from mlograph.views import View

SINE = {"_target_": SineEnv, "shots": 4, "queries": 4}
ADAM = {"_target_": "adam", "lr": 0.05}


class Net(nn.Sequential):
    """Everything that could be disturbed: random masks and running statistics."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 6), nn.BatchNorm1d(6), nn.Dropout(0.3), nn.Linear(6, 1))


def tied(lower: View, upper: View, batch: Any) -> Tensor:
    x, y = batch
    return mse_loss(lower(x), y) + proximal(lower, upper)


def query(lower: View, batch: Batch) -> dict[str, Tensor]:
    x, y = batch
    error = mse_loss(lower(x), y)
    return {"loss": error, "accuracy": (-error.detach()).exp()}


def meta(validate: object = None, steps: int = 4, upper: Any = None, **lower: Any) -> Graph:
    """A few-shot regression whose every part has a state of its own."""
    low: dict[str, Any] = {
        "optimizer": ADAM,
        "scheduler": {"_target_": "exponential", "gamma": 0.9},
        "data": "env.support",
        "unroll_steps": 2,
        "hypergradient": {"method": "cg", "iterations": 2, "warm_start": True},
        **lower,
    }
    high: dict[str, Any] = {
        "optimizer": ADAM,
        "scheduler": {"_target_": "exponential", "gamma": 0.9},
        "data": "env.query",
        "gradient_accumulation": 2,
        **(upper or {}),
    }
    return pair(
        problem(Net, query, **high),
        problem({"copy": "upper"}, tied, **low),
        env=SINE,
        steps=steps,
        engine={"validate": validate} if validate is not None else {},
    )


def lent(declared: Graph, periods: int = 1) -> Trial:
    """A trial of a run that has been going on for some periods."""
    torch.manual_seed(0)
    program = bound(declared)
    executor = Executor(program)
    for _ in range(periods):
        for instruction in program.plan.period:
            executor.execute(instruction)
    return Trial(program, executor, program.plan.counted, final=False)


def everything(program: Program) -> list[object]:
    """All that can be seen of a program and of the random numbers, as plain values."""
    found: list[object] = [
        torch.get_rng_state().tolist(),
        random.getstate(),
        str(np.random.get_state()),
    ]
    for one in program.problems.values():
        found += [
            {name: x.tolist() for name, x in one.model.tensors().items()},
            str(one.optimizer.state_dict()),
            str(one.learning_rate.state_dict()),
            [p.grad for p in one.model.params.values()],
            [part.training for part in one.model.module.modules()],
            one.updates,
        ]
    if program.env is not None:
        found.append(str(program.env.env.state_dict()))
    return found


# --- No trace


class Rude:
    """A validator that uses up every kind of random number, and adapts, and evaluates."""

    def baselines(self, trial: Trial) -> Mapping[str, Mapping[str, float]]:
        return {"nothing": self.validate(trial)}

    def validate(self, trial: Trial) -> Mapping[str, float]:
        with trial.preserved():
            torch.rand(3), np.random.rand(), random.random()
        trial.adapt(SineEnv(4, 4, seed=9), 2)
        return trial.evaluate("upper", [SineEnv(4, 4).step()["query"]])


VALIDATORS: dict[str, Callable[[], object]] = {
    "Adaptation": lambda: {"_target_": Adaptation, "tasks": 3, "every": 1},
    "Evaluate": lambda: {
        "_target_": Evaluate,
        "problem": "upper",
        "data": DataLoader(TensorDataset(torch.randn(6, 1), torch.randn(6, 1)), 2, shuffle=True),
        "every": 1,
    },
    "a rude one": lambda: {"_target_": Rude, "every": 1},
}


@pytest.mark.parametrize("name", VALIDATORS)
@pytest.mark.parametrize("method", ["cg", "unroll"])
@pytest.mark.parametrize("start", ["upper", None])
def test_a_run_with_validation_ends_where_one_without_does(
    name: str, method: str, start: str | None
):
    lower = {"hypergradient": method, "start_from": start}
    plain = trained(meta(**lower))
    watched = trained(meta(VALIDATORS[name](), **lower))
    assert len([r for r in watched.records if r.kind == "validation"]) == 4
    for problem_name in ("upper", "lower"):
        ours, theirs = (r.modules[problem_name].state_dict() for r in (plain, watched))
        assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize("name", VALIDATORS)
def test_everything_is_as_it_was_after_a_trial(name: str):
    trial = lent(meta())
    component = {key: v for key, v in VALIDATORS[name]().items() if key != "every"}
    validator = build(Component.model_validate(component), Imports(), ())
    before = everything(trial.program)
    validator.validate(trial)
    assert everything(trial.program) == before


def test_everything_is_as_it_was_after_a_trial_that_failed():
    trial = lent(meta())
    before = everything(trial.program)

    class Short(SineEnv):
        def step(self) -> Mapping[str, Batch]:
            found = super().step()
            del found["query"]  # type: ignore[attr-defined]
            return found

    with pytest.raises(KeyError):
        trial.adapt(Short(4, 4), 1)
    assert everything(trial.program) == before


def test_data_beside_the_env_are_read_anew_and_go_on_where_they_were():
    def mixed(lower: View, upper: View, batch: dict[str, Any]) -> Tensor:
        return tied(lower, upper, batch["task"]) + tied(lower, upper, batch["more"])

    def run_with(validate: object) -> list[Tensor]:
        more = Batches(*((torch.full((2, 1), float(n)), torch.ones(2, 1)) for n in range(5)))
        generator = torch.Generator().manual_seed(0)
        shuffled = DataLoader(
            TensorDataset(torch.randn(8, 1, generator=generator), torch.zeros(8, 1)),
            batch_size=2,
            shuffle=True,
            generator=generator,
        )
        both = []
        for data in (more, shuffled):
            feeds = {"task": "env.support", "more": data}
            declared = pair(
                problem(Net, query, data="env.query"),
                problem({"copy": "upper"}, mixed, data=feeds),
                env=SINE,
                steps=7,
                engine={"validate": validate},
            )
            both += weights(trained(declared), "upper")
        return both

    every = run_with({"_target_": Adaptation, "tasks": 3, "every": 1})
    never = run_with(Adaptation(tasks=1))
    assert all(torch.equal(a, b) for a, b in zip(every, never, strict=True))


def test_measurements_of_a_trial_do_not_mix_with_those_of_the_run():
    plain = trained(meta())
    watched = trained(meta({"_target_": Adaptation, "tasks": 3, "every": 1}))
    assert plain.last("train") == watched.last("train")


def test_a_module_is_changed_for_a_while():
    trial = lent(meta())
    before = everything(trial.program)

    def blank(module: nn.Module) -> None:
        for param in module.parameters():
            param.zero_()

    inside = trial.with_module(blank, trial.module("upper")[0].weight.tolist)
    assert inside == [[0.0]] * 6
    assert everything(trial.program) == before


# --- What is measured


class Plain(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1))


@pytest.mark.parametrize("method", ["cg", "unroll"])
def test_adaptation_runs_the_graphs_own_inner_loop(method: str):
    declared = pair(
        problem(Plain, query, data="env.query", gradient_accumulation=3),
        problem(
            {"copy": "upper"},
            tied,
            data="env.support",
            unroll_steps=3,
            start_from="upper",
            hypergradient=method,
        ),
        env=SINE,
        steps=2,
    )
    trial = lent(declared, periods=2)
    module, env = trial.module("upper"), SineEnv(4, 4, seed=5)
    expected = []
    for _ in range(5):
        task = {k: tuple(t.double() for t in batch) for k, batch in env.step().items()}
        start = dict(module.named_parameters())
        params = {name: p.detach().requires_grad_() for name, p in start.items()}
        x, y = task["support"]
        for _ in range(3):
            near = sum((params[n] - start[n].detach()).square().sum() for n in params) / 2
            loss = mse_loss(functional_call(module, params, x), y) + near
            grads = torch.autograd.grad(loss, list(params.values()))
            params = {n: p - 0.1 * g for (n, p), g in zip(params.items(), grads, strict=True)}
        x, y = task["query"]
        expected.append(mse_loss(functional_call(module, params, x), y).detach())
    found = trial.adapt(SineEnv(4, 4, seed=5), 5)
    assert torch.allclose(found["loss"], torch.stack(expected).float())
    assert torch.allclose(found["accuracy"], (-torch.stack(expected)).exp().float())


def test_callbacks_of_the_inner_loop_belong_to_it():
    calls: list[int] = []

    def note(problem: Problem) -> None:
        calls.append(problem.updates)

    trial = lent(meta(callbacks={"after_update": note}))
    calls.clear()
    trial.adapt(SineEnv(4, 4), 2)
    assert len(calls) == 4


def test_the_result_is_judged_in_evaluation_mode():
    seen: list[bool] = []

    class Watching(Net):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(self.training)
            return super().forward(x)

    def loss(lower: View, upper: View, batch: Batch) -> Tensor:
        return query(lower, batch)["loss"] + 0.0 * upper(batch[0]).sum()

    lower = {"start_from": "upper", "hypergradient": "unroll"}
    declared = pair(
        problem(Watching, loss, data="env.query"),
        problem({"copy": "upper"}, tied, data="env.support", **lower),
        env=SINE,
    )
    trial = lent(declared, periods=0)
    trial.adapt(SineEnv(4, 4), 1)
    assert seen == [True, False, False]
    assert trial.module("upper").training


def test_a_middle_problem_that_unrolls_its_lower_can_be_adapted():
    def top(mid: View, batch: Batch) -> Tensor:
        return mse_loss(mid(batch[0]), batch[1])

    def mid(mid: View, top: View, low: View, batch: Batch) -> Tensor:
        return mse_loss(low(batch[0]), batch[1]) + proximal(mid, top)

    def low(low: View, mid: View, batch: Batch) -> Tensor:
        return mse_loss(low(batch[0]), batch[1])

    unrolled = {"start_from": "mid", "hypergradient": "unroll", "unroll_steps": 2}
    declared = graph(
        {
            "top": problem(Plain, top, data="env.query"),
            "mid": problem(Plain, mid, data="env.query", hypergradient="first_order"),
            "low": problem(Plain, low, data="env.support", **unrolled),
        },
        edges=[
            ("u2l", "top", "mid"),
            ("l2u", "mid", "top"),
            ("u2l", "mid", "low"),
            ("l2u", "low", "mid"),
        ],
        env=SINE,
    )
    trial = lent(declared, periods=0)
    before = everything(trial.program)
    assert trial.adapt(SineEnv(4, 4), 2)["loss"].isfinite().all()
    assert everything(trial.program) == before


def test_an_evaluation_weighs_batches_by_their_sizes():
    x, y = points(10)
    declared = graph(
        {"a": problem(line(), {"_target_": "mse", "model": "a"}, data=Batches((x, y)))}
    )
    trial = lent(declared)
    whole = trial.evaluate("a", [(x, y)])["loss"]
    parts = trial.evaluate("a", zip(x.split(4), y.split(4), strict=True))["loss"]
    assert parts == pytest.approx(whole)
    assert whole == pytest.approx(mse_loss(trial.module("a")(x), y).item())


@pytest.mark.parametrize(
    ("batch", "size"),
    [
        (torch.zeros(5, 2), 5),
        ((torch.zeros(4), torch.zeros(3)), 4),
        ({"name": "x", "x": torch.zeros(7, 2)}, 7),
        ([("a", "b"), torch.zeros(6)], 6),
        (torch.tensor(1.0), 1),
        (None, 1),
        ("text", 1),
        ((1, 2.0), 1),
    ],
)
def test_the_size_of_a_batch_is_that_of_its_first_tensor(batch: Any, size: int):
    def first(a: View, batch: Any) -> Tensor:
        return proximal(a, a) + weight[0]

    weight = [0.0]
    trial = lent(graph({"a": problem(line(), first)}), periods=0)

    def batches() -> Any:
        yield batch
        weight[0] = 1.0
        yield torch.zeros(1)

    assert trial.evaluate("a", batches())["loss"] == pytest.approx(1 / (size + 1))


def test_an_evaluation_of_nothing_is_an_error():
    trial = lent(graph({"a": problem(line(), {"_target_": "l2", "model": "a"})}))
    message = failure(lambda: trial.evaluate("a", iter(())))
    assert message == "engine.validate: the data gave no batch, or can be read only once"


def test_without_an_env_there_is_none_to_adapt_to():
    trial = lent(graph({"a": problem(line(), {"_target_": "l2", "model": "a"})}))
    message = failure(lambda: Adaptation().validate(trial))
    assert message == "engine.validate: the validator needs an 'env', and there is none"
