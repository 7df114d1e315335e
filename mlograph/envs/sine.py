"""Regression of sine waves: the smallest meta-learning problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Generator, Tensor

from mlograph.envs.protocol import Env
from mlograph.envs.task import BATCHES, Batch
from mlograph.errors import UsageError

_SPLITS = ("train", "validation", "test")


class SineEnv:
    """Tasks y = A sin(x − φ) with A ~ U[0.1, 5], φ ~ U[0, π], x ~ U[−5, 5] (Finn et al., 2017).

    Each batch is (x, y), both (shots, 1) in `support` and (queries, 1) in `query`, float32.

    Args:
        shots: points to adapt on.
        queries: points to judge by.
        seed: a whole number from 0; tasks depend on nothing else.

    Raises:
        UsageError: fewer than one shot or query.
    """

    def __init__(self, shots: int = 10, queries: int = 10, seed: int = 0) -> None:
        for name, number in {"shots": shots, "queries": queries}.items():
            if number < 1:
                raise UsageError(f"{name}: must be at least 1, got {number}")
        self._shots = shots
        self._queries = queries
        self._generator = Generator("cpu").manual_seed(seed)

    @property
    def batches(self) -> tuple[str, ...]:
        """`support` and `query`."""
        return BATCHES

    def step(self) -> Mapping[str, Batch]:
        """Draw the next wave and points on it."""
        amplitude = self._uniform(1, 0.1, 5.0)
        phase = self._uniform(1, 0.0, math.pi)
        batches = {}
        for name, number in zip(BATCHES, (self._shots, self._queries), strict=True):
            x = self._uniform(number, -5.0, 5.0)
            batches[name] = (x, amplitude * torch.sin(x - phase))
        return batches

    def split(self, name: str, *, seed: int) -> Env:
        """An independent stream of tasks of the same kind; the seed is what tells splits apart.

        Raises:
            UsageError: `name` is not `train`, `validation` or `test`.
        """
        if name not in _SPLITS:
            raise UsageError(f"split: there is no '{name}' (known: {', '.join(_SPLITS)})")
        # Mixed, so that no split repeats the tasks of another or of this Env.
        mixed = np.random.SeedSequence([seed, _SPLITS.index(name)]).generate_state(1)
        return SineEnv(self._shots, self._queries, seed=int(mixed[0]))

    def state_dict(self) -> dict[str, Any]:
        """The generator's state."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._generator.set_state(state["generator"].cpu())

    def _uniform(self, number: int, low: float, high: float) -> Tensor:
        draws = torch.rand(number, 1, generator=self._generator, dtype=torch.float32, device="cpu")
        return low + (high - low) * draws
