"""Image data sets in memory, and how any torch data set becomes one."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from mlograph.data import ImageClasses, OnDemand, labelled_images
from mlograph.errors import UsageError


def numbered(labels: list[int]) -> ImageClasses:
    """Image number i is filled with i."""
    images = torch.arange(len(labels)).float()[:, None, None, None].expand(-1, 1, 2, 2)
    return ImageClasses(images, torch.tensor(labels))


class Squares(Dataset):
    """A data set that is not tensors; it counts how often it is read."""

    def __init__(self) -> None:
        self.reads = 0

    def __len__(self) -> int:
        return 9

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.reads += 1
        return torch.full((1, 2, 2), float(index)), torch.tensor(index % 3)


def test_it_is_a_data_set_of_pairs():
    data = numbered([4, 4, 7])
    assert len(data) == 3
    assert data.classes == 2
    image, label = data[2]
    assert image.shape == (1, 2, 2)
    assert label == 7
    images, labels = next(iter(DataLoader(data, batch_size=3)))
    assert images.shape == (3, 1, 2, 2)
    assert labels.tolist() == [4, 4, 7]
    assert labels.dtype == torch.int64


def test_a_subset_renumbers_its_classes_in_the_order_given():
    part = numbered([0, 1, 2, 1, 0]).subset([1, 0])
    assert part.images[:, 0, 0, 0].tolist() == [0, 1, 3, 4]
    assert part.labels.tolist() == [1, 0, 0, 1]


def test_a_subset_names_what_is_wrong():
    with pytest.raises(UsageError, match="the data set has no label 5"):
        numbered([0, 1]).subset([0, 5])
    with pytest.raises(UsageError, match="a label is named twice"):
        numbered([0, 1]).subset([0, 0])


def test_there_is_one_label_for_each_image():
    with pytest.raises(UsageError, match="one for each of 3 images"):
        ImageClasses(torch.zeros(3, 1, 2, 2), torch.zeros(2, dtype=torch.int64))


def test_data_sets_that_are_tensors_are_used_whole():
    data = numbered([0, 1])
    assert labelled_images(data) is data
    from_tensors = labelled_images(TensorDataset(data.images, data.labels.int()))
    assert isinstance(from_tensors, ImageClasses)
    assert from_tensors.labels.dtype == torch.int64


def test_labels_of_other_data_sets_are_gathered_once():
    squares = Squares()
    images = labelled_images(squares)
    assert isinstance(images, OnDemand)
    assert images.labels.tolist() == [0, 1, 2] * 3
    assert squares.reads == 9
    assert images.gather(torch.tensor([8, 0])).mean(dim=(1, 2, 3)).tolist() == [8, 0]
    assert squares.reads == 11


def test_what_is_no_classification_data_set_is_refused():
    class Endless(IterableDataset):
        def __iter__(self) -> Iterator[Any]:
            return iter(())

    with pytest.raises(UsageError, match="expected a map-style torch Dataset"):
        labelled_images(Endless())
    with pytest.raises(UsageError, match="item 0 of TensorDataset is not a pair"):
        labelled_images(TensorDataset(torch.zeros(2, 1)))
    with pytest.raises(UsageError, match="item 0 of list is not a pair of an image tensor"):
        labelled_images([("not a tensor", 1)])
