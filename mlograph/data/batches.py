"""Ways to read a data set other than in shuffled batches."""

from __future__ import annotations

from collections.abc import Iterator, Sized
from dataclasses import dataclass
from itertools import repeat
from typing import Any, cast

from torch.utils.data import Dataset, default_collate

from mlograph.errors import UsageError


@dataclass(frozen=True, eq=False)
class FullBatch:
    """An iterable that gives one and the same batch for ever."""

    batch: Any

    def __iter__(self) -> Iterator[Any]:
        return repeat(self.batch)


def full_batch(dataset: Dataset[Any]) -> FullBatch:
    """The whole of `dataset` as one batch, for ever; it is collated once, here.

    Args:
        dataset: map-style, small enough for memory.

    Raises:
        UsageError: `dataset` has no length, or is empty.
    """
    if not isinstance(dataset, Sized):
        raise UsageError(
            f"dataset: expected a map-style torch Dataset, got {type(dataset).__name__}"
        )
    length = len(cast(Sized, dataset))
    if length == 0:
        raise UsageError("dataset: is empty")
    return FullBatch(default_collate([dataset[i] for i in range(length)]))
