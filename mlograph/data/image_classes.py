"""Images of a number of classes, held in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mlograph.errors import UsageError


@dataclass(frozen=True, eq=False)
class ImageClasses(Dataset[tuple[Tensor, int]]):
    """A data set of `(image, label)` whose images and labels are two tensors.

    Data sets are cached and shared within a process: do not write into the tensors.

    Attributes:
        images: (N, channels, height, width), float32 in [0, 1].
        labels: (N,), int64, one label for each image.

    Raises:
        UsageError: there is not one label for each image.
    """

    images: Tensor
    labels: Tensor

    def __post_init__(self) -> None:
        if self.labels.shape != self.images.shape[:1]:
            raise UsageError(
                f"labels: expected one for each of {len(self.images)} images, "
                f"got a tensor of shape {tuple(self.labels.shape)}"
            )

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], int(self.labels[index])

    @cached_property
    def classes(self) -> int:
        """The number of different labels."""
        return len(set(self.labels.tolist()))

    def gather(self, indices: Tensor) -> Tensor:
        """The images at `indices` (n,), as one tensor (n, channels, height, width)."""
        return self.images[indices]

    def subset(self, classes: Sequence[int]) -> ImageClasses:
        """The images of the given labels only; `classes[i]` becomes the label i.

        Raises:
            UsageError: a label is named twice or has no images.
        """
        if len(set(classes)) != len(classes):
            raise UsageError("classes: a label is named twice")
        absent = sorted(set(classes) - set(self.labels.tolist()))
        if absent:
            raise UsageError(f"classes: the data set has no label {absent[0]}")
        # (N, classes): at most one hit in a row, so argmax gives the new label.
        hits = self.labels[:, None] == torch.tensor(classes, dtype=torch.int64)
        kept = hits.any(dim=1)
        return ImageClasses(self.images[kept], hits[kept].long().argmax(dim=1))
