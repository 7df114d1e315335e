"""A regression problem in which most features are noise."""

from __future__ import annotations

import torch
from torch import Generator, Tensor
from torch.utils.data import TensorDataset

from mlograph.errors import UsageError, did_you_mean

# Samples of a split where the user gives none.
SAMPLES = {"train": 100, "validation": 100, "test": 2000}


def sparse_logistic(
    split: str = "train",
    *,
    features: int = 100,
    informative: int = 5,
    samples: int | None = None,
    seed: int = 0,
) -> TensorDataset:
    """Labels that depend on a few of many features, for one regulariser a feature.

    x ~ N(0, I); y ~ Bernoulli(σ(wᵀx)), where the first `informative` entries of w are ±U(1, 3)
    and the others 0. All splits share w. With so few samples, an unregularised fit follows the
    noise features; penalties learnt on `validation` should switch them off.

    Args:
        split: `train`, `validation` or `test`.
        features: the number of features.
        informative: how many of them, from the first on, matter.
        samples: 100 for `train` and `validation` and 2000 for `test` by default.
        seed: chooses another w and other samples.

    Returns:
        A data set of (x (features,), y scalar), both float32; y is 0 or 1.

    Raises:
        UsageError: an unknown split, or numbers that do not fit together.
    """
    if split not in SAMPLES:
        raise UsageError(f"split: unknown '{split}' ({did_you_mean(split, SAMPLES)})")
    samples = SAMPLES[split] if samples is None else samples
    if samples < 1:
        raise UsageError(f"samples: must be at least 1, got {samples}")
    if not 1 <= informative <= features:
        raise UsageError(
            f"informative: expected between 1 and features = {features}, got {informative}"
        )
    # One stream for w and one for each split, so that the splits do not depend on each other.
    streams = len(SAMPLES) + 1
    weights = _weights(informative, Generator("cpu").manual_seed(streams * seed))
    stream = 1 + list(SAMPLES).index(split)
    generator = Generator("cpu").manual_seed(streams * seed + stream)
    x = torch.randn(samples, features, generator=generator, dtype=torch.float32, device="cpu")
    chance = torch.rand(samples, generator=generator, dtype=torch.float32, device="cpu")
    y = chance < torch.sigmoid(x[:, :informative] @ weights)
    return TensorDataset(x, y.to(torch.float32))


def _weights(informative: int, generator: Generator) -> Tensor:
    draws = torch.rand(2, informative, generator=generator, dtype=torch.float32, device="cpu")
    return (1 + 2 * draws[0]) * torch.where(draws[1] < 0.5, -1.0, 1.0)
