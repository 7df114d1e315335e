"""Batches of ordinary data sets that several problems see at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset

from mlograph.data import LabelledImages, labelled_images
from mlograph.envs.task import Batch
from mlograph.errors import UsageError


class SharedBatches:
    """One batch of each of several data sets a step, for problems that need the same samples.

    Problems with data loaders of their own see different batches; those that read `env.NAME` here
    see the same one until the Env moves on. Each data set is gone through in a random order, then
    in another one; what is left at the end and fills no batch is left out.

    Each batch is (x, y): x (batch_size, …) and y int64 (batch_size,).

    Args:
        datasets: map-style data sets of (tensor, integer label), by name.
        batch_size: samples of each of them.
        seed: a whole number from 0; batches depend on nothing else.

    Raises:
        UsageError: no data set, or one with fewer samples than a batch.
    """

    def __init__(
        self, datasets: Mapping[str, Dataset[Any]], batch_size: int = 100, seed: int = 0
    ) -> None:
        if not datasets:
            raise UsageError("datasets: name at least one")
        if batch_size < 1:
            raise UsageError(f"batch_size: must be at least 1, got {batch_size}")
        self._size = batch_size
        self._sources: dict[str, LabelledImages] = {}
        for name, dataset in datasets.items():
            self._sources[name] = labelled_images(dataset)
            length = len(self._sources[name].labels)
            if length < batch_size:
                raise UsageError(
                    f"batch_size: is {batch_size}, but the data set '{name}' has {length} samples"
                )
        self._generator = Generator("cpu").manual_seed(seed)
        # What is left of the present order of each data set.
        self._left = {name: torch.empty(0, dtype=torch.int64) for name in self._sources}

    @property
    def batches(self) -> tuple[str, ...]:
        """The names of the data sets."""
        return tuple(self._sources)

    def step(self) -> Mapping[str, Batch]:
        """Draw the next batch of each."""
        return {name: self._drawn(name, source) for name, source in self._sources.items()}

    def state_dict(self) -> dict[str, Any]:
        """The generator's state, and what is left of each order."""
        left = {name: order.clone() for name, order in self._left.items()}
        return {"generator": self._generator.get_state(), "left": left}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._generator.set_state(state["generator"].cpu())
        self._left = {name: order.cpu().clone() for name, order in state["left"].items()}

    def _drawn(self, name: str, source: LabelledImages) -> Batch:
        order: Tensor = self._left[name]
        if len(order) < self._size:
            order = torch.randperm(len(source.labels), generator=self._generator, device="cpu")
        chosen, self._left[name] = order[: self._size], order[self._size :]
        return source.gather(chosen), source.labels[chosen]
