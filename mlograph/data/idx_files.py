"""MNIST, Fashion-MNIST and others that come as files of the same format, from a local folder."""

from __future__ import annotations

import gzip
import zlib
from functools import lru_cache
from math import prod
from pathlib import Path

import torch
from torch import Generator, Tensor

from mlograph.data.image_classes import ImageClasses
from mlograph.errors import UsageError, did_you_mean

# The beginning of the names of a split's files; both levels train on parts of the same ones.
_PREFIXES = {"train": "train", "validation": "train", "test": "t10k"}
# Where Debian's package dataset-fashion-mnist puts its files.
FASHION = "/usr/share/datasets/fashion-mnist"
# The third byte of a file: numbers are unsigned bytes.
_BYTES = 0x08


def idx_images(
    root: str | Path,
    split: str = "train",
    *,
    train: int = 10_000,
    validation: int = 1_000,
    seed: int = 0,
) -> ImageClasses:
    """MNIST, Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017), KMNIST, … from a local folder.

    `train` and `validation` hold different images of the training files: the first ones of a
    shuffled order, and the next ones. `test` holds all of the test files.

    Args:
        root: a folder, relative to the current directory, with train-images-idx3-ubyte,
            train-labels-idx1-ubyte, t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte, each as it
            is or with `.gz`; such as that of Debian's package dataset-fashion-mnist.
        split: `train`, `validation` or `test`.
        train: images to train on.
        validation: images for the upper level.
        seed: chooses another order, and so other splits.

    Returns:
        images (n, 1, height, width) in [0, 1] and their labels.

    Raises:
        UsageError: an unknown split, more images than there are, or missing or damaged files.
    """
    if split not in _PREFIXES:
        raise UsageError(f"split: unknown '{split}' ({did_you_mean(split, _PREFIXES)})")
    if train < 1 or validation < 1:
        raise UsageError(f"train and validation must be at least 1, got {train} and {validation}")
    images, labels = _read(Path(root).resolve(), _PREFIXES[split])
    if split == "test":
        return ImageClasses(images, labels)
    if train + validation > len(labels):
        raise UsageError(
            f"train and validation: {train} + {validation} are more than the {len(labels)} images"
        )
    order = torch.randperm(len(labels), generator=Generator("cpu").manual_seed(seed))
    chosen = order[:train] if split == "train" else order[train : train + validation]
    return ImageClasses(images[chosen], labels[chosen])


def fashion_mnist(
    split: str = "train",
    *,
    root: str | Path = FASHION,
    train: int = 10_000,
    validation: int = 1_000,
    seed: int = 0,
) -> ImageClasses:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf, 2017): 70,000 photos of ten kinds of clothes.

    Args:
        split: `train`, `validation` or `test`, as for `idx_images`, and so are all others.
        root: where Debian's package dataset-fashion-mnist puts the files, or another folder.
        train: images to train on.
        validation: images for the upper level.
        seed: chooses other splits.

    Returns:
        images (n, 1, 28, 28) in [0, 1], and labels 0 to 9: T-shirt, trouser, pullover, dress, coat,
        sandal, shirt, sneaker, bag, ankle boot.

    Raises:
        UsageError: there is no such folder, or as for `idx_images`.
    """
    if not Path(root).is_dir():
        raise UsageError(
            f"root: there is no Fashion-MNIST in '{root}': `apt-get install dataset-fashion-mnist` "
            f"(Debian, Ubuntu) puts it into '{FASHION}', or give a folder with its four files"
        )
    return idx_images(root, split, train=train, validation=validation, seed=seed)


@lru_cache(maxsize=4)
def _read(root: Path, prefix: str) -> tuple[Tensor, Tensor]:
    images = _numbers(root, f"{prefix}-images-idx3-ubyte", axes=3)
    labels = _numbers(root, f"{prefix}-labels-idx1-ubyte", axes=1)
    if len(images) != len(labels):
        raise UsageError(
            f"root: {prefix} files of '{root}' hold {len(images)} images and {len(labels)} labels"
        )
    return images.unsqueeze(1).float() / 255, labels.long()


def _numbers(root: Path, name: str, axes: int) -> Tensor:
    """The numbers of an IDX file: two zeros, a type, the number of axes, their lengths, numbers."""
    content = _content(root, name)
    head = 4 + 4 * axes
    if len(content) < head or content[:4] != bytes([0, 0, _BYTES, axes]):
        raise UsageError(f"root: '{root / name}' is no file of bytes along {axes} axes")
    shape = [int.from_bytes(content[i : i + 4], "big") for i in range(4, head, 4)]
    if len(content) - head != prod(shape) or not prod(shape):
        raise UsageError(
            f"root: '{root / name}' should hold {prod(shape)} numbers, and has "
            f"{len(content) - head}"
        )
    return torch.frombuffer(bytearray(content[head:]), dtype=torch.uint8).reshape(shape)


def _content(root: Path, name: str) -> bytes:
    plain, packed = root / name, root / f"{name}.gz"
    try:
        if plain.is_file():
            return plain.read_bytes()
        if packed.is_file():
            return gzip.decompress(packed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UsageError(f"root: '{root / name}' cannot be read: {error}") from None
    raise UsageError(f"root: '{root}' holds neither {name} nor {name}.gz")
