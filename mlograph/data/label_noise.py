"""Data sets with faults, for methods that learn how much to trust or to want a sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Generator, Tensor
from torch.utils.data import Dataset, TensorDataset

from mlograph.data.glyph_drawing import glyphs
from mlograph.data.image_classes import ImageClasses
from mlograph.data.on_demand import labelled_images
from mlograph.errors import UsageError, did_you_mean

# Images of each class in a split.
INSTANCES = {"train": 200, "clean": 10, "test": 50}


def noisy_glyphs(
    split: str = "train", *, classes: int = 20, noise: float = 0.4, seed: int = 0
) -> ImageClasses:
    """Glyphs of a few classes, whose labels are wrong in the `train` split only.

    With probability `noise` a label becomes another one, each with equal probability (uniform
    label noise; Ren et al., 2018; Shu et al., 2019). `noise=0.0` gives the true labels of the
    same images in the same order. The splits hold the same characters in different images.

    Args:
        split: `train` (200 images of each class, noisy), `clean` (10, for the upper level) or
            `test` (50, clean).
        classes: the number of characters, at least 2.
        noise: the share of wrong labels in `train`, in [0, 1].
        seed: chooses other characters and other wrong labels.

    Raises:
        UsageError: an unknown split, fewer than two classes, or `noise` outside [0, 1].
    """
    if split not in INSTANCES:
        raise UsageError(f"split: unknown '{split}' ({did_you_mean(split, INSTANCES)})")
    if classes < 2:
        raise UsageError(f"classes: must be at least 2, got {classes}")
    if not 0 <= noise <= 1:
        raise UsageError(f"noise: expected a share between 0 and 1, got {noise}")
    everything = glyphs("train", classes=classes, instances=sum(INSTANCES.values()), seed=seed)
    first, last = _instances(split)
    # Images of a class stand together, so that an index tells which of its class an image is.
    instance = torch.arange(len(everything)) % sum(INSTANCES.values())
    chosen = (first <= instance) & (instance < last)
    images, labels = everything.images[chosen], everything.labels[chosen]
    if split == "train":
        labels = _flipped(labels, classes, noise, Generator("cpu").manual_seed(seed))
    return ImageClasses(images, labels)


def noisy_labels(dataset: Dataset[Any], noise: float = 0.4, seed: int = 0) -> ImageClasses:
    """`dataset` with uniform label noise: a label becomes each other one with equal probability.

    Args:
        dataset: of (image, label), such as `digits`; labels from 0. It is read into memory.
        noise: the probability that a label changes, in [0, 1].
        seed: chooses other labels to change.

    Raises:
        UsageError: fewer than two classes, `noise` outside [0, 1], or no such data set.
    """
    clean = _in_memory(dataset)
    if clean.classes < 2:
        raise UsageError(f"dataset: expected two classes or more, got {clean.classes}")
    if not 0 <= noise <= 1:
        raise UsageError(f"noise: expected a share between 0 and 1, got {noise}")
    classes = int(clean.labels.max()) + 1
    labels = _flipped(clean.labels, classes, noise, Generator("cpu").manual_seed(seed))
    return ImageClasses(clean.images, labels)


def long_tail(dataset: Dataset[Any], factor: float = 50.0) -> ImageClasses:
    """`dataset` with fewer and fewer samples of each class (Cui et al., 2019).

    Of the n samples of class c, of C classes, the first n · factor^(−c/(C−1)) stay, at least one.

    Args:
        dataset: of (image, label), such as `digits`; labels from 0. It is read into memory.
        factor: how much rarer the last class is made than the first, at least 1.

    Raises:
        UsageError: a factor below 1, or no such data set.
    """
    if factor < 1:
        raise UsageError(f"factor: must be at least 1, got {factor}")
    whole = _in_memory(dataset)
    last = max(int(whole.labels.max()), 1)
    kept = []
    for label in range(last + 1):
        (places,) = torch.where(whole.labels == label)
        kept.append(places[: max(1, round(len(places) * factor ** (-label / last)))])
    order = torch.cat(kept).sort().values
    return ImageClasses(whole.images[order], whole.labels[order])


def numbered(dataset: Dataset[Any]) -> TensorDataset:
    """`dataset` with the number of each sample: items (image, label, number), numbers from 0.

    For losses that hold something for each sample, such as its weight.

    Args:
        dataset: of (image, label). It is read into memory.

    Raises:
        UsageError: no such data set.
    """
    whole = _in_memory(dataset)
    return TensorDataset(whole.images, whole.labels, torch.arange(len(whole)))


def _in_memory(dataset: Dataset[Any]) -> ImageClasses:
    found = labelled_images(dataset)
    if isinstance(found, ImageClasses):
        return found
    return ImageClasses(found.gather(torch.arange(len(found.labels))), found.labels)


def _instances(split: str) -> tuple[int, int]:
    """The first image of each class that belongs to `split`, and the one after its last."""
    ends = [sum(list(INSTANCES.values())[:i]) for i in range(len(INSTANCES) + 1)]
    return list(pairwise(ends))[list(INSTANCES).index(split)]


def _flipped(labels: Tensor, classes: int, noise: float, generator: Generator) -> Tensor:
    chance = torch.rand(len(labels), generator=generator, device="cpu", dtype=torch.float32)
    # 1 … classes − 1 steps further round the circle of labels: never the label itself.
    steps = torch.randint(1, classes, labels.shape, generator=generator, device="cpu")
    return torch.where(chance < noise, (labels + steps) % classes, labels)
