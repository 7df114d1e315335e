"""The power series of graphs/learned_loss.py, and the loss that the gallery compares it with."""

from __future__ import annotations

import math
import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

ROOT = Path(__file__).resolve().parents[1]
taylor: Callable[..., dict[str, Tensor]] = runpy.run_path(str(ROOT / "graphs/learned_loss.py"))[
    "taylor"
]
generalised: Callable[..., dict[str, Tensor]] = runpy.run_path(
    str(ROOT / "tools/gallery/baselines/robust.py")
)["generalised"]


class Given:
    """A view of one tensor: the logits that a classifier gives, or coefficients."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor

    def __call__(self, *_: Any) -> Tensor:
        return self.tensor

    def parameters(self) -> tuple[Tensor, ...]:
        return (self.tensor,)


@pytest.fixture
def logits() -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(6, 4, generator=generator, dtype=torch.float64, requires_grad=True)


BATCH = (torch.zeros(6), torch.tensor([0, 1, 2, 3, 0, 1]))


def series(logits: Tensor, *logarithms: float) -> Tensor:
    found = torch.tensor(logarithms, dtype=torch.float64)
    return taylor(Given(logits), Given(found), BATCH)["loss"]


def right(logits: Tensor) -> Tensor:
    """What the classifier gives the labels."""
    return logits.softmax(1)[torch.arange(6), BATCH[1]]


def test_it_begins_as_cross_entropy_with_the_same_gradient(logits: Tensor):
    expected = F.cross_entropy(logits, BATCH[1])
    found = series(logits, 0.0, 0.0, 0.0, 0.0)
    assert torch.allclose(found, expected, rtol=1e-12)
    gradients = [torch.autograd.grad(one, logits)[0] for one in (found, expected)]
    assert torch.allclose(*gradients, rtol=1e-10, atol=1e-12)


def test_each_coefficient_is_that_of_its_power(logits: Tensor):
    wrong, nothing = 1 - right(logits), -math.inf
    for k in range(1, 4):
        only = [0.7 if k == i else nothing for i in range(1, 5)]
        assert torch.allclose(series(logits, *only), math.exp(0.7) * (wrong**k / k).mean())
    rest = -torch.log(1 - wrong) - sum(wrong**k / k for k in range(1, 4))
    assert torch.allclose(series(logits, nothing, nothing, nothing, 0.0), rest.mean())


def test_coefficients_have_a_gradient_where_the_label_is_certain():
    logits = torch.tensor([[50.0, -50.0]], dtype=torch.float64)
    logarithms = torch.zeros(3, dtype=torch.float64, requires_grad=True)
    batch = (torch.zeros(1), torch.tensor([0]))
    taylor(Given(logits), Given(logarithms), batch)["loss"].backward()
    assert logarithms.grad is not None
    assert logarithms.grad.isfinite().all()


@pytest.mark.parametrize("q", [0.3, 0.7, 1.0])
def test_generalised_cross_entropy_lies_between_two_losses(logits: Tensor, q: float):
    found = generalised(Given(logits), BATCH, q)["loss"]
    assert torch.allclose(found, ((1 - right(logits) ** q) / q).mean())
    near = generalised(Given(logits), BATCH, 1e-9)["loss"]
    assert torch.allclose(near, nn.CrossEntropyLoss()(logits, BATCH[1]), rtol=1e-6)
