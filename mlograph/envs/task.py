"""What a few-shot task is, and how its samples become two batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mlograph.errors import UsageError

Batch = tuple[Tensor, Tensor]
BATCHES = ("support", "query")


@dataclass(frozen=True)
class TaskShape:
    """How many classes a task has, and how many samples of each class are in which batch.

    Attributes:
        ways: classes of a task.
        shots: samples of each class to adapt on.
        queries: other samples of each class to judge the adapted model on.

    Raises:
        UsageError: one of them is below 1.
    """

    ways: int
    shots: int
    queries: int

    def __post_init__(self) -> None:
        sizes = {"ways": self.ways, "shots": self.shots, "queries": self.queries}
        for name, size in sizes.items():
            if size < 1:
                raise UsageError(f"{name}: must be at least 1, got {size}")

    @property
    def samples(self) -> int:
        """Samples of each class in both batches together."""
        return self.shots + self.queries

    def check_source(self, counts: Sequence[int]) -> None:
        """Check that tasks can be drawn from classes with `counts` samples each.

        Raises:
            UsageError: there are too few classes, or too few samples of one.
        """
        if len(counts) < self.ways:
            raise UsageError(f"ways: is {self.ways}, but the data set has {len(counts)} classes")
        if min(counts) < self.samples:
            raise UsageError(
                f"shots + queries: is {self.shots} + {self.queries} = {self.samples}, but a class "
                f"of the data set has only {min(counts)} samples"
            )

    def divide(self, data: Tensor, labels: Tensor) -> dict[str, Batch]:
        """Divide a task's samples into its two batches, class by class.

        Every (samples/shots)-th sample of a class is support: every second one where there are
        as many queries as shots, which is how learn2learn's examples divide a task.

        Args:
            data: (ways · samples, …), in any order.
            labels: (ways · samples,), in 0 … ways − 1.

        Raises:
            UsageError: the task does not have `samples` of each of `ways` classes.
        """
        self._check(labels)
        by_class = labels.argsort(stable=True).reshape(self.ways, self.samples)
        places = torch.arange(self.samples)
        support = torch.zeros(self.samples, dtype=torch.bool)
        support[torch.arange(self.shots) * self.samples // self.shots] = True
        batches = {}
        for name, chosen in zip(BATCHES, (places[support], places[~support]), strict=True):
            indices = by_class[:, chosen].flatten()
            batches[name] = (data[indices], labels[indices])
        return batches

    def _check(self, labels: Tensor) -> None:
        classes, counts = torch.unique(labels, return_counts=True)
        if not torch.equal(classes.cpu(), torch.arange(self.ways)):
            raise UsageError(
                f"ways: is {self.ways}, but a task of the task set has {len(classes)} classes, "
                f"numbered from {int(classes.min())} to {int(classes.max())}"
            )
        fewest = int(counts.min())
        if fewest != self.samples or int(counts.max()) != self.samples:
            raise UsageError(
                f"shots + queries: is {self.shots} + {self.queries} = {self.samples}, but a task "
                f"of the task set has {fewest} samples of a class; set queries: "
                f"{fewest - self.shots}, or make the task set with {self.samples}"
            )
