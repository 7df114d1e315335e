"""A run goes on from any instruction, bit by bit as if it had not been cut."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import Batch, Batches, graph, line, pair, points, problem
from interruption import Make, differences
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

import mlograph
from mlograph.envs import MazeEnv, SineEnv
from mlograph.losses import proximal
from mlograph.views import View


class Noisy(Dataset[Batch]):
    """A data set that is augmented from all global generators and one of its own."""

    def __init__(self) -> None:
        self.x, self.y = points(8)
        self.own = torch.Generator().manual_seed(7)

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Batch:
        noise = random.random() + np.random.random() + torch.rand(())
        own = torch.rand((), generator=self.own)
        return self.x[index] + 0.1 * noise + 0.1 * own, self.y[index]


def loader(**changes: Any) -> DataLoader[Any]:
    return DataLoader(Noisy(), **{"batch_size": 3, "shuffle": True, **changes})


def network(*parts: nn.Module) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 4), *parts, nn.Linear(4, 1)).double()


def fit(lower: View, upper: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1]) + proximal(lower, upper)


def judge(lower: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1])


class Scripted:
    """A validator with a state of its own."""

    def __init__(self) -> None:
        self.asked = 0

    def baselines(self, trial: Any) -> dict[str, dict[str, float]]:
        return {}

    def validate(self, trial: Any) -> dict[str, float]:
        self.asked += 1
        return {"score": 1.0 / self.asked if self.asked < 3 else 0.0}

    def state_dict(self) -> dict[str, Any]:
        return {"asked": self.asked}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.asked = state["asked"]


def dropout(**changes: Any) -> mlograph.Graph:
    engine = {
        "validate": {"validator": Scripted(), "every": 2},
        "early_stopping": {"metric": "score", "patience": 3},
        "log_every": 3,
        "of": "a",
    }
    spec = {
        "optimizer": {"_target_": "torch.optim.NAdam", "lr": 0.05},
        "scheduler": {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau", "patience": 1},
        "data": loader(),
        "gradient_accumulation": 2,
        **changes,
    }
    loss = {"_target_": "mse", "model": "a"}
    module = network(nn.Tanh(), nn.Dropout(0.3))
    return graph({"a": problem(module, loss, **spec)}, steps=9, engine=engine)


def bilevel(method: Any, upper: Any = None, **lower: Any) -> mlograph.Graph:
    """Two problems with momentum, dropout and batches that do not come in step."""
    momentum = {"_target_": "sgd", "lr": 0.05, "momentum": 0.9}
    low = {
        "optimizer": momentum,
        "data": loader(),
        "unroll_steps": 2,
        "gradient_accumulation": 2,
        "gradient_clipping": 1.0,
        "hypergradient": method,
        **lower,
    }
    adam = {"_target_": "adam", "lr": 0.05}
    cosine = {"_target_": "torch.optim.lr_scheduler.CosineAnnealingLR", "T_max": 5}
    high = {
        "optimizer": adam,
        "scheduler": cosine,
        "data": Batches(*(points(seed=n) for n in range(4))),
        "gradient_accumulation": 2,
        **(upper or {}),
    }

    def module() -> nn.Module:
        norm = [nn.BatchNorm1d(4)] if method == "cg" else []
        return network(*norm, nn.Dropout(0.2))

    return pair(
        problem(module(), judge, **high),
        problem(module(), fit, **low),
        steps=2,
        engine={"execution": {"tasks": "sequential"}},
    )


def restarted(method: Any) -> mlograph.Graph:
    return bilevel(
        method,
        start_from="upper",
        optimizer={"_target_": "adam", "lr": 0.05},
        scheduler={"_target_": "step", "step_size": 1, "gamma": 0.5},
    )


def meta(tasks: str = "sequential") -> mlograph.Graph:
    """MAML on sine waves, the Env stepping within the accumulation."""
    upper = problem(
        line(1, 1),
        {"_target_": "mse", "model": "lower"},
        data="env.query",
        gradient_accumulation=3,
    )
    lower = problem(
        {"copy": "upper"},
        {"_target_": "mse", "model": "lower"},
        start_from="upper",
        data="env.support",
        unroll_steps=2,
        hypergradient="unroll",
    )
    return pair(upper, lower, env=SineEnv, steps=2, engine={"execution": {"tasks": tasks}})


def walked(a: View, batch: Any) -> Tensor:
    table = next(iter(a.parameters()))
    path = batch.follow(lambda cells: torch.softmax(table[cells].float(), -1), 3)
    cells, actions = path.cells[:, :4].flatten(), path.actions[:, :4].flatten()
    chosen = torch.log_softmax(table[cells], -1).gather(1, actions[:, None])
    return -(chosen.squeeze(1) * path.arrived[:, :4].flatten().double()).mean()


def maze() -> mlograph.Graph:
    """Two players in one maze, who read its walks at different times."""
    engine = {"of": "a", "execution": {"tasks": "sequential"}}
    spec = {"module": {"_target_": "mlograph.nn.Tensors", "table": [68, 4]}, "precision": "float64"}
    sgd = {"_target_": "sgd", "lr": 0.5}
    one = {**spec, "optimizer": sgd, "loss": walked, "data": "env.walk", "unroll_steps": 2}
    env = {"_target_": MazeEnv, "step_every": "step", "walkers": 8, "episodes": 1}
    return graph({"a": {**one, "gradient_accumulation": 2}}, env=env, steps=4, engine=engine)


CASES: dict[str, Make] = {
    "dropout, plateau, accumulation, validation": dropout,
    "fp16": lambda: dropout(precision="fp16"),
    "BatchNorm, warm starts": lambda: bilevel("cg"),
    "neumann": lambda: bilevel({"method": "neumann", "warm_start": True}),
    "soba": lambda: bilevel("soba"),
    "darts": lambda: bilevel("darts"),
    "es": lambda: bilevel("es"),
    "unroll": lambda: bilevel("unroll"),
    "unroll truncated": lambda: bilevel({"method": "unroll", "truncate": 1}),
    "unroll steps": lambda: bilevel({"method": "unroll", "checkpoint": "steps"}),
    "unroll sqrt": lambda: bilevel({"method": "unroll", "checkpoint": "sqrt"}),
    "unroll restarted": lambda: restarted("unroll"),
    "forward": lambda: restarted("forward"),
    "fixed_point": lambda: bilevel("fixed_point"),
    "Env": meta,
    "maze": maze,
}


QUICK = ("dropout, plateau, accumulation, validation", "fp16", "unroll", "Env", "maze")


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in CASES],
)
def test_a_run_goes_on_from_any_instruction(name: str, tmp_path: Path):
    assert differences(CASES[name], tmp_path / "checkpoints") == {}
