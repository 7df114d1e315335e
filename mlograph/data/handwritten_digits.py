"""Digits that people wrote, as scikit-learn ships them."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Generator, Tensor

from mlograph.data.image_classes import ImageClasses
from mlograph.errors import UsageError, did_you_mean

_SPLITS = ("train", "validation", "test")


def digits(
    split: str = "train", *, train: int = 600, validation: int = 400, seed: int = 0
) -> ImageClasses:
    """The 1,797 images of the ten digits that come with scikit-learn (Alpaydin and Kaynak, 1998).

    The splits hold different images: the first `train` ones of a shuffled order, the next
    `validation` ones, and for `test` those that are left.

    Args:
        split: `train`, `validation` or `test`.
        train: images to train on.
        validation: images for the upper level.
        seed: chooses another order, and so other splits.

    Returns:
        images (n, 1, 8, 8) with ink 1 on 0, in steps of 1/16; labels 0 to 9.

    Raises:
        UsageError: an unknown split, one without images, or no scikit-learn
            (`pip install "mlograph[gallery]"`).
    """
    if split not in _SPLITS:
        raise UsageError(f"split: unknown '{split}' ({did_you_mean(split, _SPLITS)})")
    if train < 1 or validation < 1:
        raise UsageError(f"train and validation must be at least 1, got {train} and {validation}")
    images, labels = _all()
    if train + validation >= len(labels):
        raise UsageError(
            f"train and validation: {train} + {validation} of {len(labels)} images leave none "
            "to test with"
        )
    order = torch.randperm(len(labels), generator=Generator("cpu").manual_seed(seed))
    ends = {"train": (0, train), "validation": (train, train + validation)}
    first, last = ends.get(split, (train + validation, len(labels)))
    chosen = order[first:last]
    return ImageClasses(images[chosen], labels[chosen])


@lru_cache(maxsize=1)
def _all() -> tuple[Tensor, Tensor]:
    """The images (1797, 1, 8, 8) in [0, 1], and their labels."""
    try:
        from sklearn.datasets import load_digits  # noqa: PLC0415 (an extra; it takes a second)
    except ModuleNotFoundError as error:
        raise UsageError(
            f'digits: {error}; they come with scikit-learn: pip install "mlograph[gallery]"'
        ) from error
    images, labels = load_digits(return_X_y=True)
    pixels = torch.from_numpy(images).float().view(-1, 1, 8, 8) / 16
    return pixels, torch.from_numpy(labels).long()
