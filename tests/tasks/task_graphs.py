"""Few-shot regression in float64, as graphs that run one task after another or all at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from builders import Batch, pair, problem
from torch import Tensor, nn

from mlograph import Graph
from mlograph.envs import SineEnv
from mlograph.losses import mse, proximal
from mlograph.nn import MLP
from mlograph.plan import Tasks
from mlograph.result import RunResult
from mlograph.views import View

STEPS = 3
CG = {"method": "cg", "iterations": 4}
MOMENTUM = {"_target_": "sgd", "lr": 0.02, "momentum": 0.9, "weight_decay": 0.1}


def fit(lower: View, upper: View, batch: Batch) -> dict[str, Tensor]:
    """With a metric, and an optimum near the upper parameters."""
    error = mse(lower, batch)
    return {"loss": error + proximal(lower, upper, 2.0), "error": error.detach()}


def judge(lower: View, batch: Batch) -> Tensor:
    return mse(lower, batch)


def net(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return MLP([1, 5, 1], activation="tanh").double()


class Normalised(nn.Module):
    """With running statistics and weights that stay as they are."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(1, 4, bias=False), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.layers(x)
        return found


def normalised() -> nn.Module:
    torch.manual_seed(0)
    return Normalised().double()


def tasks(
    mode: str,
    method: Any = CG,
    *,
    count: int = 4,
    chunk: int | None = None,
    upper: Mapping[str, Any] | None = None,
    lower: Mapping[str, Any] | None = None,
    env: Any = None,
    engine: Mapping[str, Any] | None = None,
) -> Graph:
    """Sine waves: `count` of them for an update, each fitted by some steps from the upper net."""
    high = {
        "module": net(),
        "loss": judge,
        "data": "env.query",
        "gradient_accumulation": count,
        "optimizer": {"_target_": "adam", "lr": 0.01},
        **(upper or {}),
    }
    low = {
        "module": net(1),
        "loss": fit,
        "data": "env.support",
        "start_from": "upper",
        "unroll_steps": 3,
        "hypergradient": method,
        "optimizer": {"_target_": "sgd", "lr": 0.02},
        **(lower or {}),
    }
    execution = {"tasks": mode} | ({"chunk": chunk} if chunk is not None else {})
    return pair(
        problem(high.pop("module"), high.pop("loss"), **high),
        problem(low.pop("module"), low.pop("loss"), **low),
        env={"_target_": SineEnv, "shots": 6, "queries": 5} if env is None else env,
        engine={"steps": STEPS, "log_every": 1, "execution": execution, **(engine or {})},
    )


def differences(mode: str, *args: Any, **options: Any) -> dict[str, float]:
    """What differs by more than 1e-9 after a run in `mode` and one task after another."""
    declared = tasks(mode, *args, **options)
    assert any(isinstance(one, Tasks) for one in declared.plan().tasks), declared.plan().tasks
    one, other = numbers(tasks("sequential", *args, **options)), numbers(declared)
    assert one.keys() == other.keys()
    gaps = {
        name: float((one[name] - other[name]).abs().max())
        for name in one
        if not torch.equal(one[name].isnan(), other[name].isnan()) or not one[name].isnan().all()
    }
    return {name: gap for name, gap in gaps.items() if not gap < 1e-9}


def numbers(declared: Graph) -> dict[str, Tensor]:
    """All parameters, buffers and measurements of a run."""
    result: RunResult = declared.run(quiet=True)
    found = {
        f"{name}.{key}": x.detach().double()
        for name, module in result.modules.items()
        for key, x in module.state_dict().items()
    }
    for record in result.records:
        for key, value in record.values.items():
            found[f"{record.kind} {record.step} {key}"] = torch.tensor(value, dtype=torch.float64)
    return found
