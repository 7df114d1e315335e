"""Validators: a problem's loss on other data, and adaptation to held-out tasks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from builders import (
    Batch,
    Batches,
    complaints,
    failure,
    graph,
    line,
    pair,
    points,
    problem,
    trained,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlograph import Graph
from mlograph.data import full_batch, glyphs
from mlograph.envs import SineEnv
from mlograph.loggers.protocol import Record
from mlograph.nn import MLP
from mlograph.problem import Problem
from mlograph.result import RunResult
from mlograph.validation import Adaptation, Evaluate, Validator
from mlograph.views import View

MSE = {"_target_": "mse", "model": "a"}


def evaluated(data: object, problem_name: str = "a", **changes: Any) -> RunResult:
    """A run of one problem, judged on `data` at its end."""
    spec = problem(line(), MSE, data=Batches(points()), **changes)
    validator = {"_target_": Evaluate, "problem": problem_name, "data": data}
    return trained(graph({"a": spec}, steps=2, engine={"validate": validator}))


def measured(result: RunResult, kind: str) -> dict[str, Mapping[str, float]]:
    """The records of a kind by their names."""
    return {record.text: record.values for record in result.records if record.kind == kind}


# --- Evaluate


def test_a_problem_is_judged_on_other_data_before_and_after_training():
    x, y = points(6, seed=9)
    result = evaluated(Batches((x, y)))
    found = [measured(result, kind) for kind in ("baseline", "validation")]
    for values, module in zip(found, (line(), result.modules["a"]), strict=True):
        (got,) = values.values()
        assert got["loss"] == pytest.approx(float((module(x) - y).square().mean().detach()))
    assert list(found[0]) == ["untrained"]


def test_a_loader_a_full_batch_and_batches_give_the_same():
    data = TensorDataset(*points(6, seed=9))
    kinds = (DataLoader(data, batch_size=4), full_batch(data), Batches(data.tensors))
    losses = [evaluated(kind).last("validation")["loss"] for kind in kinds]
    assert losses == pytest.approx([losses[0]] * 3)


def test_metrics_are_measured_too():
    def loss(a: View, batch: Batch) -> dict[str, Tensor]:
        out = a(batch[0])
        return {"loss": out.square().mean(), "size": torch.tensor(float(len(out)))}

    spec = problem(line(), loss, data=Batches(points()))
    validator = Evaluate("a", Batches(points(3), points(5)))
    result = trained(graph({"a": spec}, engine={"validate": validator}))
    assert result.last("validation")["size"] == pytest.approx((9 + 25) / 8)


def test_a_misspelt_problem_gets_the_nearest_name():
    message = failure(lambda: evaluated(Batches(points()), "aa"))
    assert message == "engine.validate.problem: no problem 'aa' (did you mean 'a'?)"


def test_data_that_are_no_batches_are_a_fault():
    (fault,) = complaints(lambda: evaluated(TensorDataset(*points())))
    assert fault.startswith("engine.validate: a TensorDataset is a Dataset, which gives single")


def test_data_that_can_be_read_only_once_are_an_error():
    message = failure(lambda: evaluated(iter([points()])))
    assert message == "engine.validate: the data gave no batch, or can be read only once"


def test_the_problem_is_judged_in_evaluation_mode():
    seen: list[bool] = []

    class Watching(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(self.training)
            return super().forward(x)

    module = Watching(3, 1)
    spec = problem(module, MSE, data=Batches(points()))
    validator = Evaluate("a", Batches(points()))
    trained(graph({"a": spec}, steps=2, engine={"validate": validator}))
    assert seen == [False, True, True, False]


# --- Adaptation


def query(lower: View, batch: Batch) -> dict[str, Tensor]:
    error = (lower(batch[0]) - batch[1]).square().mean()
    return {"loss": error, "accuracy": (-error.detach()).exp()}


def meta(validator: object, *, env: object = SineEnv, steps: int = 4, every: int = 2) -> RunResult:
    """First-order MAML on sine waves."""
    upper = problem(
        {"_target_": MLP, "sizes": [1, 8, 1]},
        query,
        data="env.query",
        optimizer={"_target_": "adam", "lr": 0.05},
    )
    lower = problem(
        {"copy": "upper"},
        {"_target_": "mse", "model": "lower"},
        data="env.support",
        start_from="upper",
        optimizer={"_target_": "sgd", "lr": 0.01},
        hypergradient="first_order",
    )
    engine = {"validate": {"validator": validator, "every": every}}
    return trained(pair(upper, lower, env=env, steps=steps, engine=engine))


def validations(result: RunResult) -> list[Record]:
    return [record for record in result.records if record.kind == "validation"]


def test_validators_are_recognised():
    assert isinstance(Adaptation(), Validator)
    assert isinstance(Evaluate("a", Batches()), Validator)


def test_tasks_are_the_same_every_time():
    class Resting(Adaptation):  # type: ignore[misc]
        """Also measures twice without training between."""

        def validate(self, trial: Any) -> Mapping[str, float]:
            first, second = super().validate(trial), super().validate(trial)
            assert first == second
            return first

    found = [record.values["loss"] for record in validations(meta(Resting(tasks=5)))]
    assert len(set(found)) == 2


def test_the_mean_and_its_confidence_are_told():
    values = meta(Adaptation(tasks=5)).last("validation")
    assert values.keys() == {"loss", "accuracy", "accuracy_ci95"}
    assert 0.0 < values["accuracy_ci95"] < 1.0


def test_one_task_has_no_confidence():
    assert "accuracy_ci95" not in meta(Adaptation(tasks=1)).last("validation")


class Watched(SineEnv):
    """Notes which split was asked for, with which seed, and the Envs that it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, int]] = []
        self.given: list[CountingSine] = []

    def split(self, name: str, *, seed: int) -> CountingSine:
        self.asked.append((name, seed))
        self.given.append(CountingSine(seed=seed))
        return self.given[-1]


class CountingSine(SineEnv):
    """Counts the tasks that were drawn from it."""

    drawn = 0

    def step(self) -> Mapping[str, Batch]:
        self.drawn += 1
        return super().step()


def watched(validator: Adaptation) -> tuple[list[tuple[str, int]], list[int]]:
    """The splits that were asked for, and the tasks that were drawn from each."""
    env = Watched()
    meta(validator, env=env)
    return env.asked, [split.drawn for split in env.given]


def test_the_end_may_take_more_tasks_from_a_split_of_ones_own_choice():
    validator = Adaptation(tasks=2, final_tasks=6, split="validation", seed=5)
    asked, drawn = watched(validator)
    assert asked == [("validation", 5)] * 3
    # The baseline is compared with the end.
    assert drawn == [6, 2, 6]


def test_the_end_takes_as_many_tasks_as_the_others_by_default():
    asked, drawn = watched(Adaptation(tasks=3))
    assert asked[0][0] == "test"
    assert drawn == [3, 3, 3]


def test_the_untrained_baseline_is_what_training_begins_with():
    result = meta(Adaptation(tasks=4), steps=40, every=40)
    baseline = measured(result, "baseline")
    assert list(baseline) == ["untrained"]
    assert result.last("validation")["loss"] < baseline["untrained"]["loss"]


def test_without_baselines_none_is_measured():
    assert measured(meta(Adaptation(tasks=2, baselines=())), "baseline") == {}


def test_a_misspelt_baseline_is_a_fault():
    validator = {"_target_": Adaptation, "baselines": ["transfr"]}
    (fault,) = complaints(lambda: meta(validator))
    assert "baselines: no 'transfr' (did you mean 'transfer'?)" in fault


def test_an_env_without_held_out_tasks_cannot_be_adapted_to():
    class Endless:
        batches = ("support", "query")

        def __init__(self) -> None:
            self._env = SineEnv()

        def step(self) -> Mapping[str, Batch]:
            return self._env.step()

        def state_dict(self) -> dict[str, Any]:
            return self._env.state_dict()

        def load_state_dict(self, state: Mapping[str, Any]) -> None:
            self._env.load_state_dict(state)

    message = failure(lambda: meta(Adaptation(), env=Endless))
    assert message == (
        "engine.validate: Adaptation needs an Env with a 'split' method (held-out tasks)"
    )


def test_transfer_needs_an_env_of_classes():
    message = failure(lambda: meta(Adaptation(baselines=("transfer",))))
    assert message == "baselines: 'transfer' needs a FewShotEnv"


# --- Transfer


def few_shot(
    module: object, validator: object | None = None, classes: int = 4, **callbacks: object
) -> Graph:
    """First-order MAML on glyphs of a few classes, three to a task."""
    env = {
        "_target_": "mlograph.envs.FewShotEnv",
        "dataset": glyphs(split="train", classes=classes, instances=4),
        "test_dataset": glyphs(split="test", classes=4, instances=4),
        "tasks": "builtin",
        "ways": 3,
        "shots": 1,
        "queries": 2,
    }
    loss = {"_target_": "cross_entropy", "model": "lower"}
    upper = problem(module, loss, data="env.query", precision="float32")
    lower = problem(
        {"copy": "upper"},
        loss,
        data="env.support",
        precision="float32",
        start_from="upper",
        hypergradient="first_order",
        callbacks=callbacks,
    )
    engine = {"validate": validator} if validator is not None else {}
    return pair(upper, lower, env=env, engine=engine)


PIXELS = 28 * 28
SMALL = {"_target_": MLP, "sizes": [PIXELS, 8, 3]}


def test_transfer_begins_with_a_network_trained_on_all_classes():
    validator = Adaptation(tasks=3, baselines=("untrained", "transfer"), transfer_steps=3)
    result = trained(few_shot(SMALL, validator))
    found = measured(result, "baseline")
    assert list(found) == ["untrained", "transfer"]
    assert found["untrained"] != found["transfer"]


@pytest.mark.parametrize("classes", [3, 4])
def test_transfer_keeps_the_trained_body_and_begins_with_a_head_of_zeros(classes: int):
    starts: list[dict[str, Tensor]] = []

    def note(problem: Problem) -> None:
        starts.append({name: p.detach().clone() for name, p in problem.model.params.items()})

    validator = Adaptation(tasks=1, baselines=("untrained", "transfer"), transfer_steps=3)
    trained(few_shot(SMALL, validator, classes=classes, on_inner_loop_start=note))
    untrained, transfer, *_ = starts
    for name in ("layers.3.weight", "layers.3.bias"):
        assert not transfer[name].any()
    assert not torch.equal(transfer["layers.1.weight"], untrained["layers.1.weight"])


def test_transfer_leaves_no_trace():
    validator = Adaptation(tasks=3, baselines=("transfer",), transfer_steps=3)
    plain, watched_run = trained(few_shot(SMALL)), trained(few_shot(SMALL, validator))
    ours, theirs = (r.modules["upper"].state_dict() for r in (plain, watched_run))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_transfer_needs_a_linear_head():
    module = nn.Sequential(nn.Conv2d(1, 3, 28), nn.Flatten())
    validator = Adaptation(tasks=1, baselines=("transfer",), transfer_steps=1)
    message = failure(lambda: trained(few_shot(module, validator)))
    assert message == "baselines: 'transfer' needs a module that ends in a torch.nn.Linear"


def test_transfer_to_a_body_whose_head_is_another_problem():
    """All of the body is taken over: the head is the inner problem's, and begins anew."""
    loss = {"_target_": "cross_entropy", "model": "lower", "features": "upper"}
    bodies: list[Tensor] = []

    def note(problem: Problem) -> None:
        bodies.append(next(iter(problem.others["upper"].params.values())).detach().clone())

    declared = few_shot(SMALL).spec
    body = {"_target_": MLP, "sizes": [PIXELS, 8]}
    upper = problem(body, loss, data="env.query", precision="float32")
    lower = problem(
        {"_target_": MLP, "sizes": [8, 3]},
        loss,
        data="env.support",
        precision="float32",
        hypergradient="first_order",
        callbacks={"on_inner_loop_start": note},
    )
    validator = Adaptation(tasks=1, baselines=("untrained", "transfer"), transfer_steps=3)
    env = declared.env.source
    result = trained(pair(upper, lower, env=env, engine={"validate": validator}))
    untrained, transfer, *_ = bodies
    assert not torch.equal(untrained, transfer)
    assert len(measured(result, "baseline")) == 2


def test_data_with_a_generator_are_read_in_the_same_order_each_time():
    data = TensorDataset(*points(9))
    generator = torch.Generator().manual_seed(2)
    shuffled = DataLoader(data, 2, shuffle=True, generator=generator)
    before = generator.get_state()
    validator = {"validator": Evaluate("a", shuffled), "every": 1}
    spec = {"data": Batches(points())}
    loss = {"_target_": "mse", "model": "a"}
    trained(graph({"a": problem(line(), loss, **spec)}, steps=2, engine={"validate": validator}))
    assert torch.equal(generator.get_state(), before)
