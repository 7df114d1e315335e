"""MNIST-like files, plain and packed."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from mlograph.data import fashion_mnist, idx_images
from mlograph.data.idx_files import FASHION
from mlograph.errors import UsageError


def idx(shape: tuple[int, ...], numbers: bytes) -> bytes:
    head = bytes([0, 0, 8, len(shape)])
    return head + b"".join(size.to_bytes(4, "big") for size in shape) + numbers


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """12 training images, packed, and 3 test images, plain; image i is all i, its label i mod 3."""
    pixels = bytes(i for i in range(12) for _ in range(6))
    (tmp_path / "train-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx((12, 2, 3), pixels)))
    labels = idx((12,), bytes(i % 3 for i in range(12)))
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(gzip.compress(labels))
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(idx((3, 2, 3), bytes([255] * 18)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx((3,), bytes([2, 1, 0])))
    return tmp_path


def test_splits_are_parts_of_the_training_files(root: Path):
    train = idx_images(root, "train", train=7, validation=5)
    validation = idx_images(root, "validation", train=7, validation=5)
    assert train.images.shape == (7, 1, 2, 3)
    numbers = torch.cat([train.images, validation.images])[:, 0, 0, 0] * 255
    labels = torch.cat([train.labels, validation.labels])
    assert sorted(numbers.round().int().tolist()) == list(range(12))
    assert torch.equal(numbers.round().long() % 3, labels)
    again = idx_images(root, "train", train=7, validation=5, seed=1)
    assert not torch.equal(again.images, train.images)


def test_the_test_split_is_all_of_its_files(root: Path):
    test = idx_images(root, "test")
    assert test.images.unique().tolist() == [1.0]
    assert test.labels.tolist() == [2, 1, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"no", "is no file of bytes along 1 axes"),
        (idx((2, 2), bytes(4)), "is no file of bytes along 1 axes"),
        (idx((5,), bytes(3)), "should hold 5 numbers, and has 3"),
        (idx((5,), bytes(5)), "hold 12 images and 5 labels"),
    ],
)
def test_damaged_files_are_refused(root: Path, content: bytes, message: str):
    (root / "train-labels-idx1-ubyte").write_bytes(content)
    with pytest.raises(UsageError, match=message):
        idx_images(root, train=2, validation=2)


def test_a_packed_file_that_is_cut_off_is_refused(root: Path):
    file = root / "train-labels-idx1-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(UsageError, match="cannot be read"):
        idx_images(root, train=2, validation=2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda root: idx_images(root, "tran"),
            r"split: unknown 'tran' \(did you mean 'train'\?\)",
        ),
        (lambda root: idx_images(root, train=9, validation=9), "9 \\+ 9 are more than the 12"),
        (lambda root: idx_images(root, train=0), "must be at least 1, got 0 and 1000"),
        (
            lambda root: fashion_mnist(root=root / "none"),
            f"(?s)^root: there is no Fashion-MNIST in '[^\\n]*none': `apt-get install "
            f"dataset-fashion-mnist` [^\\n]* puts it into '{FASHION}', or give a folder[^\\n]*$",
        ),
        (lambda root: idx_images(root / "none"), "holds neither train-images-idx3-ubyte nor"),
    ],
)
def test_what_makes_no_sense_is_refused(root: Path, call: Callable[[Path], object], message: str):
    with pytest.raises(UsageError, match=message):
        call(root)


def test_fashion_mnist_may_lie_anywhere(root: Path):
    here = fashion_mnist("validation", root=root, train=7, validation=5, seed=3)
    there = idx_images(root, "validation", train=7, validation=5, seed=3)
    assert torch.equal(here.images, there.images)


@pytest.mark.skipif(not Path(FASHION).is_dir(), reason="no Debian package dataset-fashion-mnist")
def test_the_real_fashion_mnist_is_what_it_is_known_to_be():
    train, rest = (
        fashion_mnist(x, train=50_000, validation=10_000) for x in ("train", "validation")
    )
    images, labels = torch.cat([train.images, rest.images]), torch.cat([train.labels, rest.labels])
    assert images.shape == (60_000, 1, 28, 28)
    assert labels.bincount().tolist() == [6_000] * 10
    # The mean and deviation by which everybody normalises it.
    assert float(images.mean()) == pytest.approx(0.2860, abs=1e-4)
    assert float(images.std()) == pytest.approx(0.3530, abs=1e-4)
    test = fashion_mnist("test")
    assert test.labels.bincount().tolist() == [1_000] * 10
    # The middle of a pair of trousers' sides is empty, that of a bag's is not.
    trouser, bag = (test.images[test.labels == label].mean(0)[0, 14:20, 2] for label in (1, 8))
    assert bag.mean() > 10 * trouser.mean()
