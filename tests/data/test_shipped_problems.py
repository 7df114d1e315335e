"""Label noise, sparse regression, and reading a data set whole."""

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset, TensorDataset

from mlograph.data import full_batch, noisy_glyphs, sparse_logistic
from mlograph.errors import UsageError


def test_training_labels_are_flipped_at_the_given_rate():
    noisy, true = noisy_glyphs("train"), noisy_glyphs("train", noise=0.0)
    assert torch.equal(noisy.images, true.images)
    assert true.labels.tolist() == [label for label in range(20) for _ in range(200)]
    assert (noisy.labels != true.labels).float().mean().item() == pytest.approx(0.4, abs=0.03)
    assert noisy_glyphs("train", noise=1.0).labels.ne(true.labels).all()


def test_wrong_labels_are_uniform_over_the_other_classes():
    noisy, true = noisy_glyphs("train", noise=1.0), noisy_glyphs("train", noise=0.0)
    steps = (noisy.labels - true.labels) % 20
    counts = torch.bincount(steps, minlength=20)
    assert counts[0] == 0
    assert counts[1:].min() > 150
    assert counts[1:].max() < 280


def test_the_other_splits_are_clean_and_share_no_image():
    parts = [noisy_glyphs(split, noise=0.0) for split in ("train", "clean", "test")]
    assert [len(part) for part in parts] == [4000, 200, 1000]
    for name, part in zip(("clean", "test"), parts[1:], strict=True):
        assert torch.equal(noisy_glyphs(name, noise=0.4).labels, part.labels)
    for one, other in itertools.combinations(parts, 2):
        assert torch.cdist(one.images.flatten(1), other.images.flatten(1)).min() > 0.1


def test_the_splits_hold_the_same_characters():
    clean, test = noisy_glyphs("clean"), noisy_glyphs("test")
    means = clean.images.reshape(20, 10, -1).mean(dim=1)
    guess = torch.cdist(test.images.flatten(1), means).argmin(dim=1)
    assert (guess == test.labels).float().mean() > 0.5


def test_noisy_batches_come_from_a_data_loader():
    x, y = next(iter(DataLoader(noisy_glyphs("train"), batch_size=100, shuffle=True)))
    assert x.shape == (100, 1, 28, 28)
    assert y.shape == (100,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "training"}, "split: unknown 'training' (did you mean 'train'?)"),
        ({"noise": 40}, "noise: expected a share between 0 and 1, got 40"),
        ({"classes": 1}, "classes: must be at least 2, got 1"),
    ],
)
def test_noisy_glyphs_names_mistakes(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError) as caught:
        noisy_glyphs(**arguments)
    assert str(caught.value) == message


def test_only_the_first_features_say_anything_about_the_label():
    x, y = sparse_logistic("test", samples=20000).tensors
    assert x.shape == (20000, 100)
    assert set(y.tolist()) == {0.0, 1.0}
    correlation = ((x - x.mean(0)) * (y - y.mean())[:, None]).mean(0) / y.std()
    assert correlation[:5].abs().min() > 0.1
    assert correlation[5:].abs().max() < 0.04


def test_sparse_splits_share_their_weights_and_no_samples():
    splits = [sparse_logistic(name).tensors[0] for name in ("train", "validation", "test")]
    assert [len(x) for x in splits] == [100, 100, 2000]
    for one, other in itertools.combinations(splits, 2):
        assert torch.cdist(one, other).min() > 1
    x, y = sparse_logistic("train", samples=20000).tensors
    u, v = sparse_logistic("validation", samples=20000).tensors
    direction, other = (y - 0.5) @ x, (v - 0.5) @ u
    assert torch.cosine_similarity(direction, other, dim=0) > 0.98


def test_sparse_logistic_is_deterministic_and_has_many_seeds():
    again = sparse_logistic("train").tensors
    assert torch.equal(sparse_logistic("train").tensors[0], again[0])
    assert torch.equal(sparse_logistic("train").tensors[1], again[1])
    assert not torch.equal(sparse_logistic("train", seed=1).tensors[0], again[0])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "valid"}, "split: unknown 'valid' (did you mean 'validation'?)"),
        ({"samples": 0}, "samples: must be at least 1, got 0"),
        (
            {"features": 3, "informative": 4},
            "informative: expected between 1 and features = 3, got 4",
        ),
    ],
)
def test_sparse_logistic_names_mistakes(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError) as caught:
        sparse_logistic(**arguments)
    assert str(caught.value) == message


def test_a_full_batch_is_the_whole_set_for_ever_and_collated_once():
    data = sparse_logistic("train")
    batches = full_batch(data)
    first, second = itertools.islice(batches, 2)
    assert first is second
    assert torch.equal(first[0], data.tensors[0])
    assert torch.equal(first[1], data.tensors[1])
    assert next(iter(batches)) is first


def test_a_full_batch_needs_something_to_hold():
    class Endless(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(())

    with pytest.raises(UsageError, match="expected a map-style torch Dataset, got Endless"):
        full_batch(Endless())
    with pytest.raises(UsageError, match="dataset: is empty"):
        full_batch(TensorDataset(torch.zeros(0, 3)))
