"""Learning to reweight examples: the graph does what the paper's Algorithm 1 does, step by step."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.func import functional_call
from torch.nn import functional as F

import mlograph
from mlograph.data import digits, noisy_labels
from mlograph.envs import SharedBatches
from mlograph.nn import MLP

pytest.importorskip("sklearn")

GRAPH = Path(__file__).resolve().parents[1] / "graphs" / "l2rw.yaml"
STEPS, RATE, TRIAL_RATE, BATCH = 3, 0.05, 0.2, 20
OVERRIDES = [
    f"engine.steps={STEPS}",
    "engine.seed=4",
    "engine.validate.every=100",
    f"vars.batch={BATCH}",
    "~problems.classifier.scheduler",
    "problems.classifier.optimizer={_target_: sgd, lr: RATE}",
    f"problems.virtual.optimizer.lr={TRIAL_RATE}",
    *(f"+problems.{name}.precision=float64" for name in ("classifier", "weights", "virtual")),
]


def trained(rate: float) -> dict[str, Tensor]:
    overrides = [text.replace("RATE", str(rate)) for text in OVERRIDES]
    module = mlograph.load(GRAPH, overrides).run(quiet=True).modules["classifier"]
    return {name: param.detach().clone() for name, param in module.named_parameters()}


def by_hand(params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Ren et al. (2018), Algorithm 1, for a network of these weights."""
    module = MLP([64, 64, 10]).double()
    sets = {
        "noisy": noisy_labels(digits("train", train=600, validation=100, seed=4), 0.5, seed=4),
        "clean": digits("validation", train=600, validation=100, seed=4),
    }
    batches = SharedBatches(sets, batch_size=BATCH, seed=4)
    theta = {name: param.clone().requires_grad_() for name, param in params.items()}
    for _ in range(STEPS):
        batch = batches.step()
        (x, y), (clean_x, clean_y) = ((a.double(), b) for a, b in map(batch.get, sets))
        each = F.cross_entropy(functional_call(module, theta, (x,)), y, reduction="none")
        eps = torch.zeros(BATCH, dtype=torch.float64, requires_grad=True)
        slope = torch.autograd.grad((eps * each).sum(), [*theta.values()], create_graph=True)
        moved = {n: p - TRIAL_RATE * g for (n, p), g in zip(theta.items(), slope, strict=True)}
        judged = F.cross_entropy(functional_call(module, moved, (clean_x,)), clean_y)
        (by_eps,) = torch.autograd.grad(judged, eps, retain_graph=True)
        weights = (-by_eps).relu()
        loss = (weights / weights.sum() * each).sum()
        grads = torch.autograd.grad(loss, [*theta.values()])
        theta = {
            name: (param - RATE * grad).detach().requires_grad_()
            for (name, param), grad in zip(theta.items(), grads, strict=True)
        }
    return theta


def test_the_graph_makes_the_steps_of_the_paper():
    start, end = trained(rate=0.0), trained(rate=RATE)
    expected = by_hand(start)
    for name, param in end.items():
        assert not torch.allclose(param, start[name], atol=1e-4)
        torch.testing.assert_close(param, expected[name], rtol=0, atol=1e-12)
