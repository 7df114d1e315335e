"""Label noise, long tails and numbers for the samples of any data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, TensorDataset

from mlograph.data import long_tail, noisy_labels, numbered
from mlograph.errors import UsageError


def samples(classes: int = 4, each: int = 100) -> TensorDataset:
    """Each image is a number of its own."""
    labels = torch.arange(classes).repeat(each)
    return TensorDataset(torch.arange(len(labels)).float()[:, None], labels)


def images(dataset: TensorDataset) -> Tensor:
    return dataset.tensors[0]


def test_labels_change_with_the_given_probability():
    noisy = noisy_labels(samples(), noise=0.3, seed=1)
    assert torch.equal(noisy.images, images(samples()))
    wrong = noisy.labels != samples().tensors[1]
    assert wrong.float().mean().item() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(noisy_labels(samples(), noise=0.3, seed=1).labels, noisy.labels)
    assert not torch.equal(noisy_labels(samples(), noise=0.3, seed=2).labels, noisy.labels)


def test_a_changed_label_is_each_other_one_equally_often():
    noisy = noisy_labels(samples(each=600), noise=1.0)
    steps = (noisy.labels - samples(each=600).tensors[1]) % 4
    counts = torch.bincount(steps, minlength=4).tolist()
    assert counts[0] == 0
    assert min(counts[1:]) > 650


def test_classes_of_a_long_tail_shrink_by_a_constant_ratio():
    tail = long_tail(samples(classes=4, each=1000), factor=1000)
    assert torch.bincount(tail.labels).tolist() == [1000, 100, 10, 1]
    # What is left are the first ones of each class, in their order.
    assert tail.images.flatten().tolist() == sorted(tail.images.flatten().tolist())
    assert tail.images[tail.labels == 3].flatten().tolist() == [3]


def test_a_factor_of_one_keeps_everything():
    assert torch.equal(long_tail(samples(), factor=1).images, images(samples()))


def test_every_class_of_a_long_tail_keeps_a_sample():
    assert torch.bincount(long_tail(samples(each=5), factor=1e6).labels).min() == 1


def test_samples_are_numbered_in_their_order():
    both = ConcatDataset([samples(each=1), samples(each=2)])
    x, y, number = next(iter(DataLoader(numbered(both), batch_size=12)))
    assert x.flatten().tolist() == [0, 1, 2, 3, *range(8)]
    assert y.tolist() == [0, 1, 2, 3] * 3
    assert number.tolist() == list(range(12))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: noisy_labels(samples(), noise=1.5), "noise: expected a share between 0 and 1"),
        (lambda: noisy_labels(samples(classes=1)), "dataset: expected two classes or more, got 1"),
        (lambda: long_tail(samples(), factor=0.5), "factor: must be at least 1, got 0.5"),
        (lambda: numbered(TensorDataset(torch.zeros(3))), "dataset: item 0"),
    ],
)
def test_what_makes_no_sense_is_refused(make: Callable[[], Any], message: str):
    with pytest.raises(UsageError, match="^" + message):
        make()
