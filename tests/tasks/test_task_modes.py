"""All tasks at once give the numbers that one after another gives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
import torch
from builders import Batch, Batches, failure, points
from task_graphs import CG, differences, judge, numbers, tasks
from torch import Tensor, nn
from torch.nn import functional as F

from mlograph.losses import mse
from mlograph.views import View

METHODS: dict[str, Any] = {
    "cg": {"method": "cg", "iterations": 3},
    "cg to its end": {"method": "cg", "iterations": 40, "damping": 2.0, "tol": 1e-6},
    "neumann": {"method": "neumann", "iterations": 4, "alpha": 0.1},
    "neumann auto": {"method": "neumann", "alpha": "auto", "damping": 0.5},
    "exact": "exact",
    "identity": "identity",
    "identity scaled": {"method": "identity", "scale": 2.0},
    "unroll": "unroll",
    "unroll truncated": {"method": "unroll", "truncate": 2},
    "unroll longer than the loop": {"method": "unroll", "truncate": 9},
    "first_order": "first_order",
    "darts": "darts",
    "darts by the rate": {"method": "darts", "scale": "lr"},
}


@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_method(method: Any):
    assert not differences("vectorized", method)


@pytest.mark.parametrize("method", [CG, "unroll", "first_order", "darts"])
@pytest.mark.parametrize(("count", "chunk"), [(8, 3), (4, 4), (2, 1), (3, 100)])
def test_a_few_at_a_time(method: str, count: int, chunk: int):
    assert not differences("vectorized", method, count=count, chunk=chunk)


OPTIMIZERS: dict[str, Any] = {
    "momentum": {"_target_": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.1},
    "groups": {
        "_target_": "sgd",
        "lr": 0.02,
        "params": [{"params": "*.bias", "lr": 0.1}, {"params": "*"}],
    },
    "adam": {"_target_": "adam", "lr": 0.02, "amsgrad": True},
    "adamw": {"_target_": "adamw", "lr": 0.02},
    "rmsprop": {"_target_": "torch.optim.RMSprop", "lr": 0.01},
    "asgd": {"_target_": "torch.optim.ASGD", "lr": 0.01},
    "rprop": {"_target_": "torch.optim.Rprop", "lr": 0.01},
}


@pytest.mark.parametrize("method", [CG, "unroll"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_every_optimizer_works_on_each_task(method: str, optimizer: Any):
    assert not differences("vectorized", method, lower={"optimizer": optimizer})


SETTINGS: dict[str, dict[str, Any]] = {
    "clipping": {"lower": {"gradient_clipping": 0.5}, "upper": {"gradient_clipping": 0.1}},
    "several passes a step": {"lower": {"gradient_accumulation": 2}},
    "a schedule": {
        "lower": {
            "scheduler": {
                "_target_": "torch.optim.lr_scheduler.StepLR",
                "step_size": 1,
                "gamma": 0.5,
            }
        }
    },
    "frozen above": {"upper": {"freeze": "layers.1.*"}},
    "frozen below": {"lower": {"freeze": "layers.3.*"}},
    "a sum of losses": {"lower": {"loss": [judge, {"_target_": "l2", "model": "lower"}, "fitted"]}},
}


def pull_together(lower: View, upper: View) -> Tensor:
    pairs = zip(lower.parameters(), upper.parameters(), strict=True)
    return torch.stack([(a - b).square().sum() for a, b in pairs]).sum()


SETTINGS["a sum of losses"]["lower"]["loss"][2] = pull_together


@pytest.mark.parametrize("method", [CG, "unroll", "darts"])
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_every_setting(method: str, setting: Mapping[str, Any]):
    assert not differences("vectorized", method, **setting)


def test_the_env_may_move_on_before_every_step():
    env = {"_target_": "mlograph.envs.SineEnv", "shots": 4, "queries": 4, "step_every": "step"}
    assert not differences("vectorized", env=env)


def test_batches_need_not_come_from_the_env():
    def read(mode: str) -> dict[str, Tensor]:
        data = {name: Batches(*(points(6, 1, seed=s + k) for s in range(5))) for k, name in
                enumerate(("upper", "lower"))}  # fmt: skip
        both = {name: {"data": data[name]} for name in data}
        return numbers(tasks(mode, upper=both["upper"], lower=both["lower"]))

    one, other = read("sequential"), read("vectorized")
    assert all(torch.allclose(one[name], other[name], rtol=0, atol=1e-9) for name in one)


def test_a_loss_above_may_read_its_own_parameters():
    def both(lower: View, upper: View, batch: Batch) -> Tensor:
        return mse(lower, batch) + 0.1 * mse(upper, batch)

    assert not differences("vectorized", upper={"loss": both})


# --- Batch normalisation


class Normalised(nn.Module):
    """A layer between two others that looks at the whole batch, with an affine map of its own."""

    def __init__(self, running: bool) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            # What is added to all of a batch alike has no gradient but rounding errors.
            nn.Linear(1, 4, bias=False),
            nn.BatchNorm1d(4, track_running_stats=running),
            nn.Tanh(),
            nn.Linear(4, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def normalised(running: bool) -> nn.Module:
    torch.manual_seed(0)
    return Normalised(running).double()


@pytest.mark.parametrize("method", [CG, "exact", "unroll", "darts"])
@pytest.mark.parametrize("running", [False, True])
def test_running_statistics_are_those_of_each_task(method: str, running: bool):
    module = {"module": {"_target_": normalised, "running": running}}
    assert not differences("vectorized", method, upper=module, lower=module)


@pytest.mark.parametrize("inner", ["vmap of the loss", "vmap of its gradient"])
def test_second_derivatives_are_right_only_where_the_loss_itself_is_vmapped(inner: str):
    """If the second of these passes, torch has mended it, and nothing here depends on it."""
    model = normalised(running=False)
    params = {n: p.detach().expand(2, *p.shape).clone() for n, p in model.named_parameters()}
    (x, y), others = points(6, 1, seed=1), points(6, 1, seed=2)
    x, y = torch.stack([x, others[0]]), torch.stack([y, others[1]])

    def loss(params: Any, x: Tensor, y: Tensor) -> Tensor:
        return F.mse_loss(torch.func.functional_call(model, params, (x,)), y)

    def slopes(params: Any) -> Any:
        if inner == "vmap of the loss":
            total = torch.vmap(loss)(params, x, y).sum()
            return torch.autograd.grad(total, [*params.values()], create_graph=True)
        return [*torch.vmap(torch.func.grad(loss))(params, x, y).values()]

    def product(params: Any, along: Any) -> Any:
        leaves = {n: p.detach().requires_grad_() for n, p in params.items()}
        found = torch.autograd.grad(slopes(leaves), [*leaves.values()], along, allow_unused=True)
        return [torch.zeros_like(a) if f is None else f for a, f in zip(along, found, strict=True)]

    torch.manual_seed(5)
    along = [torch.randn_like(p) for p in params.values()]
    ahead, behind = (
        slopes(
            {
                n: (p + h * a).requires_grad_()
                for (n, p), a in zip(params.items(), along, strict=True)
            }
        )
        for h in (1e-6, -1e-6)
    )
    wanted = torch.cat([((a - b) / 2e-6).flatten() for a, b in zip(ahead, behind, strict=True)])
    found = torch.cat([x.flatten() for x in product(params, along)])
    right = bool((found - wanted).norm() < 1e-6 * wanted.norm())
    assert right == (inner == "vmap of the loss")


# --- What cannot be done at once


def test_random_numbers_are_left_as_they_are():
    def dropped(lower: View, upper: View, batch: Batch) -> Tensor:
        return F.mse_loss(F.dropout(lower(batch[0]), 0.5), batch[1]) + pull_together(lower, upper)

    noisy = {"loss": dropped}
    one, other = (numbers(tasks(mode, lower=noisy)) for mode in ("sequential", "auto"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    told = [r.text for r in tasks("vectorized", lower=noisy).run(quiet=True).records if r.text]
    assert "random numbers in the loops of 'lower' are others at once than one by one" in told


def value_of(lower: View, upper: View, batch: Batch) -> Tensor:
    error = mse(lower, batch)
    return (error * 2 if bool(error > 1) else error) + pull_together(lower, upper)


def by_step(lower: View, upper: View, batch: Batch, step: int) -> Tensor:
    return mse(lower, batch) / (step + 1) + pull_together(lower, upper)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a loss that looks at numbers": (
        {"lower": {"loss": value_of}},
        "problems.lower.loss: RuntimeError: vmap: It looks like you're attempting to use a Tensor "
        "in some data-dependent control flow (test_task_modes.py:",
    ),
    "a loss that asks for its step": (
        {"lower": {"loss": by_step}},
        "the loss of 'lower' asks for its step",
    ),
}


@pytest.mark.parametrize(("options", "reason"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_run_at_once_runs_one_by_one(options: Any, reason: str):
    one, other = (numbers(tasks(mode, **options)) for mode in ("sequential", "auto"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    told = [r.text for r in tasks("auto", **options).run(quiet=True).records if "at once" in r.text]
    assert len(told) == 1
    assert told[0].startswith(f"the loops of 'lower' cannot run at once: {reason}")
    assert told[0].endswith("; they run one by one")
    message = failure(lambda: tasks("vectorized", **options).run(quiet=True))
    assert message.startswith(
        f"engine.execution.tasks: the loops of 'lower' cannot run at once: {reason}"
    )


class Shapes:
    """An Env whose batches are longer each time."""

    batches = ("support", "query")

    def __init__(self) -> None:
        self.count = 3

    def step(self) -> dict[str, Batch]:
        self.count += 1
        return {name: points(self.count, 1) for name in self.batches}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]


def test_batches_of_different_shapes_run_one_by_one():
    one, other = (numbers(tasks(mode, env=Shapes)) for mode in ("sequential", "auto"))
    assert all(torch.equal(one[name], other[name]) for name in one)
    message = failure(lambda: tasks("vectorized", env=Shapes).run(quiet=True))
    assert "the batches of the tasks differ in shape" in message


# --- Numbers that are not finite, and zeros


class Poisoned(Shapes):
    """An Env with a NaN in the support of its sixth task."""

    def step(self) -> dict[str, Batch]:
        self.count += 1
        x, y = points(5, 1, seed=self.count)
        bad = torch.full_like(y, float("nan")) if self.count == 9 else y
        return {"support": (x, bad), "query": (x, y)}


@pytest.mark.parametrize("method", [CG, "unroll", "first_order"])
def test_a_task_that_is_not_finite_is_skipped_as_one_by_one(method: Any):
    skipping = {"on_nonfinite": "skip"}
    assert not differences("vectorized", method, env=Poisoned, engine=skipping, count=3)


@pytest.mark.parametrize("method", [CG, "unroll", "first_order"])
def test_a_task_that_is_not_finite_stops_the_run_with_the_same_words(method: Any):
    first, second = (
        failure(lambda mode=mode: tasks(mode, method, env=Poisoned).run(quiet=True))
        for mode in ("sequential", "vectorized")
    )
    assert first == second and first.startswith("problems.lower: ")


def test_a_hypergradient_that_is_zero_by_structure_is_told_as_one_by_one():
    def deaf(lower: View, upper: View, batch: Batch) -> Tensor:
        return mse(lower, batch) + upper.parameters()[0].sum() * 0.1

    first, second = (
        failure(lambda mode=mode: tasks(mode, lower={"loss": deaf}).run(quiet=True))
        for mode in ("sequential", "vectorized")
    )
    assert first == second and "has no effect" in first
