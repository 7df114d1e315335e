"""Any torch data set of `(image, label)`, seen as classes of images."""

from __future__ import annotations

from collections.abc import Sized
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, TensorDataset

from mlograph.data.image_classes import ImageClasses
from mlograph.errors import UsageError


class LabelledImages(Protocol):
    """Images that can be fetched by index and whose labels are all known."""

    @property
    def labels(self) -> Tensor:
        """(N,), int64."""
        ...

    def gather(self, indices: Tensor) -> Tensor:
        """The images at `indices` (n,), stacked along a first axis."""
        ...


@dataclass(frozen=True, eq=False)
class OnDemand:
    """A data set whose items are loaded when they are asked for; only labels are in memory.

    What the data set does for each item (decoding, random augmentation) it does on every access.
    """

    dataset: Dataset[Any]
    labels: Tensor

    def gather(self, indices: Tensor) -> Tensor:
        """The images at `indices` (n,), stacked along a first axis."""
        return torch.stack([self.dataset[i][0] for i in indices.tolist()])


def labelled_images(dataset: Dataset[Any]) -> LabelledImages:
    """Gather the labels of `dataset` once; its images stay where they are.

    Data sets that are tensors already (`ImageClasses`, `TensorDataset`) are indexed as a whole;
    any other is read through once for its labels, and again item by item when images are wanted.

    Args:
        dataset: map-style, with items `(image tensor, integer label)`.

    Raises:
        UsageError: `dataset` is no map-style data set of such pairs.
    """
    if isinstance(dataset, ImageClasses):
        return dataset
    if isinstance(dataset, TensorDataset) and len(dataset.tensors) == 2:
        return ImageClasses(dataset.tensors[0], dataset.tensors[1].long())
    if not isinstance(dataset, Sized):
        raise UsageError(
            f"dataset: expected a map-style torch Dataset of (image, label), got {_kind(dataset)}"
        )
    length = len(cast(Sized, dataset))
    return OnDemand(dataset, torch.tensor([_label(dataset, i) for i in range(length)]))


def _label(dataset: Dataset[Any], index: int) -> int:
    try:
        image, label = dataset[index]
        if not isinstance(image, Tensor):
            raise TypeError
        return int(label)
    except (TypeError, ValueError):
        raise UsageError(
            f"dataset: item {index} of {_kind(dataset)} is not a pair of an image tensor and an "
            "integer label (give it a transform that makes tensors)"
        ) from None


def _kind(value: object) -> str:
    return type(value).__name__
