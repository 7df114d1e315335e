"""Few-shot tasks drawn in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from mlograph.data import LabelledImages
from mlograph.envs.task import BATCHES, Batch, TaskShape


class BuiltinTasks:
    """An Env of N-way K-shot tasks, drawn with a generator of its own.

    A step draws `ways` classes and `shots + queries` samples of each without replacement, and
    numbers the classes in the order in which they were drawn.

    Args:
        images: where tasks are drawn from.
        shape: ways, shots and queries.
        seed: a whole number from 0.

    Raises:
        UsageError: there are too few classes, or too few images of one.
    """

    def __init__(self, images: LabelledImages, shape: TaskShape, seed: int) -> None:
        self._images = images
        self._shape = shape
        self._generator = Generator("cpu").manual_seed(seed)
        _, inverse, self._counts = torch.unique(
            images.labels, return_inverse=True, return_counts=True
        )
        shape.check_source(self._counts.tolist())
        # Images in the order of their class: a class is a range of `_order`.
        self._order = inverse.argsort(stable=True)
        self._starts = self._counts.cumsum(0) - self._counts
        self._labels = {
            name: torch.arange(shape.ways).repeat_interleave(number)
            for name, number in zip(BATCHES, (shape.shots, shape.queries), strict=True)
        }

    @property
    def batches(self) -> tuple[str, ...]:
        """`support` and `query`."""
        return BATCHES

    def step(self) -> Mapping[str, Batch]:
        """Draw a task; rows of a batch are ordered by label."""
        indices = self._draw()
        shots = self._shape.shots
        parts = {"support": indices[:, :shots], "query": indices[:, shots:]}
        # Labels are cloned so that no one writes into those of the next task.
        return {
            name: (self._images.gather(part.flatten()), self._labels[name].clone())
            for name, part in parts.items()
        }

    def _draw(self) -> Tensor:
        """Indices of the images of a task, (ways, shots + queries)."""
        shape = self._shape
        classes = torch.randperm(len(self._counts), generator=self._generator)[: shape.ways]
        counts = self._counts[classes, None]
        most = int(counts.max())
        # The smallest of random keys are a sample without replacement, whatever a class's size.
        keys = torch.rand(shape.ways, most, generator=self._generator, dtype=torch.float64)
        keys.masked_fill_(torch.arange(most) >= counts, 2.0)
        chosen = keys.argsort(dim=1)[:, : shape.samples]
        indices: Tensor = self._order[self._starts[classes, None] + chosen]
        return indices

    def state_dict(self) -> dict[str, Any]:
        """The generator's state."""
        return {"generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._generator.set_state(state["generator"].cpu())
