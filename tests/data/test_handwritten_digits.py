"""The digits of scikit-learn, in three parts."""

import itertools
import sys

import pytest
import torch

from mlograph.data import digits
from mlograph.errors import UsageError

SPLITS = ("train", "validation", "test")


@pytest.fixture(autouse=True)
def with_scikit_learn():
    pytest.importorskip("sklearn")


def test_every_image_is_in_one_of_the_splits():
    parts = [digits(split) for split in SPLITS]
    assert [len(part) for part in parts] == [600, 400, 797]
    everything = torch.cat([part.images for part in parts]).flatten(1)
    assert len(everything.unique(dim=0)) == 1797
    for one, other in itertools.combinations(parts, 2):
        assert torch.cdist(one.images.flatten(1), other.images.flatten(1)).min() > 0


def test_images_are_in_the_unit_range_and_fit_their_labels():
    train, test = digits("train"), digits("test")
    assert train.images.shape == (600, 1, 8, 8)
    assert (train.images.min(), train.images.max()) == (0, 1)
    means = torch.stack([train.images[train.labels == label].mean(dim=0) for label in range(10)])
    guess = torch.cdist(test.images.flatten(1), means.flatten(1)).argmin(dim=1)
    assert (guess == test.labels).float().mean() > 0.85


def test_another_seed_chooses_other_images_and_the_same_seed_the_same():
    assert torch.equal(digits("train", seed=1).images, digits("train", seed=1).images)
    assert not torch.equal(digits("train", seed=1).images, digits("train", seed=2).images)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, "split: unknown 'tset' (did you mean 'test'?)"),
        ({"train": 0}, "train and validation must be at least 1, got 0 and 400"),
        (
            {"train": 1400, "validation": 397},
            "train and validation: 1400 + 397 of 1797 images leave none to test with",
        ),
    ],
)
def test_what_cannot_be_is_said(arguments: dict[str, object], message: str):
    with pytest.raises(UsageError) as error:
        digits(**arguments)
    assert str(error.value) == message


def test_without_scikit_learn_the_message_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch):
    from mlograph.data import handwritten_digits

    handwritten_digits._all.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(UsageError, match=r'pip install "mlograph\[gallery\]"'):
        digits()
