"""Few-shot tasks drawn by learn2learn (Arnold et al., 2020)."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mlograph.data import LabelledImages
from mlograph.envs.learn2learn_import import (
    Learn2learnMissingError,
    import_learn2learn,
    install_command,
)
from mlograph.envs.private_random import PrivateRandom, seeded
from mlograph.envs.task import BATCHES, Batch, TaskShape
from mlograph.errors import UsageError


@runtime_checkable
class Taskset(Protocol):
    """What is used of `learn2learn.data.Taskset`."""

    num_tasks: int
    sampled_descriptions: dict[int, Any]

    def sample_task_description(self) -> Any:
        """Draw a task without loading its data."""
        ...

    def get_task(self, task_description: Any) -> Any:
        """Load the data of a task: (data, labels)."""
        ...


@runtime_checkable
class BenchmarkTasksets(Protocol):
    """What `learn2learn.vision.benchmarks.get_tasksets` gives."""

    train: Any
    validation: Any
    test: Any


class TasksetTasks:
    """An Env over the tasks of a learn2learn task set.

    learn2learn draws from the global generators of Python and NumPy. Here they are swapped for
    private ones while it does, so that tasks depend on the seed only and the rest of the program
    does not depend on tasks.

    A task set with a finite number of tasks caches them as they are first drawn. Task number i
    is drawn with the seed i, so that the tasks of the set do not depend on the order of visits,
    and a run that was resumed sees the same ones.

    Args:
        taskset: gives tasks with `shots + queries` samples of each of `ways` classes.
        shape: ways, shots and queries.
        seed: a whole number from 0.
    """

    def __init__(self, taskset: Taskset, shape: TaskShape, seed: int) -> None:
        self._taskset = taskset
        self._shape = shape
        self._random = PrivateRandom(seed)

    @property
    def batches(self) -> tuple[str, ...]:
        """`support` and `query`."""
        return BATCHES

    def step(self) -> Mapping[str, Batch]:
        """Draw a task and divide it."""
        with self._random.active():
            data, labels = self._taskset.get_task(self._description())
        return self._shape.divide(data, labels)

    def _description(self) -> Any:
        taskset = self._taskset
        if taskset.num_tasks == -1:
            return taskset.sample_task_description()
        number = random.randrange(taskset.num_tasks)
        if number not in taskset.sampled_descriptions:
            with seeded(number):
                taskset.sampled_descriptions[number] = taskset.sample_task_description()
        return taskset.sampled_descriptions[number]

    def state_dict(self) -> dict[str, Any]:
        """The states of the private generators."""
        return self._random.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._random.load_state_dict(state)


def learn2learn_taskset(images: LabelledImages, shape: TaskShape) -> Taskset:
    """A learn2learn task set without end over `images`.

    Raises:
        UsageError: learn2learn is missing, or there are too few classes or images of one.
    """
    l2l = _learn2learn()
    _, labels = torch.unique(images.labels, return_inverse=True)
    indices: dict[int, list[int]] = {}
    for index, label in enumerate(labels.tolist()):
        indices.setdefault(label, []).append(index)
    shape.check_source([len(members) for members in indices.values()])
    dataset = l2l.data.MetaDataset(_Items(images, labels), labels_to_indices=indices)
    transforms = l2l.data.transforms
    taskset: Taskset = l2l.data.Taskset(
        dataset,
        task_transforms=[
            transforms.NWays(dataset, shape.ways),
            transforms.KShots(dataset, shape.samples),
            transforms.LoadData(dataset),
            transforms.RemapLabels(dataset),
            transforms.ConsecutiveLabels(dataset),
        ],
    )
    return taskset


@dataclass(frozen=True, eq=False)
class _Items(Dataset[tuple[Tensor, int]]):
    """`images` item by item, as learn2learn reads them."""

    images: LabelledImages
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images.gather(torch.tensor([index]))[0], int(self.labels[index])


def _learn2learn() -> ModuleType:
    try:
        return import_learn2learn()
    except Learn2learnMissingError as error:
        raise UsageError(
            f"tasks: learn2learn cannot be imported ({error}). Install it:\n"
            f"    {install_command()}\nor write tasks: builtin, which draws the same kind of "
            "tasks without it"
        ) from None
