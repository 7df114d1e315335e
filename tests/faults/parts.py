"""What the graphs of the fault harness are made of."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, Dataset

from mlograph.losses import proximal
from mlograph.views import View

Batch = tuple[Tensor, Tensor]


class Network(nn.Sequential):
    """A small network, perhaps with dropout or batch normalisation."""

    def __init__(self, dropout: float = 0.0, norm: bool = False, inputs: int = 4) -> None:
        norms = [nn.BatchNorm1d(16)] if norm else []
        super().__init__(
            nn.Linear(inputs, 16), *norms, nn.Tanh(), nn.Dropout(dropout), nn.Linear(16, 1)
        )


class Augmented(Dataset[Batch]):
    """Points with noise from all three global generators."""

    def __init__(self, size: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        self._x = torch.randn(size, 4, generator=generator)
        self._y = self._x.sum(1, keepdim=True).sin()

    def __len__(self) -> int:
        return len(self._x)

    def __getitem__(self, index: int) -> Batch:
        noise = torch.randn(4) + random.gauss(0, 1) + np.random.normal()
        return self._x[index] + 0.05 * noise, self._y[index]


def points(size: int = 50, batch: int = 8, seed: int = 0, workers: int = 0) -> DataLoader[Batch]:
    """Shuffled batches, the last of an epoch being smaller."""
    return DataLoader(Augmented(size, seed), batch, shuffle=True, num_workers=workers)


def fit(lower: View, upper: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1]) + 0.1 * proximal(lower, upper)


def judge(lower: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1])
