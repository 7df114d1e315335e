"""Few-shot classification: every step is another task."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch.utils.data import Dataset

from mlograph.data import ImageClasses, LabelledImages, glyphs, labelled_images, omniglot
from mlograph.envs.augmentation import DistortedTasks, Distortion
from mlograph.envs.builtin_tasks import BuiltinTasks
from mlograph.envs.learn2learn_tasks import (
    BenchmarkTasksets,
    Taskset,
    TasksetTasks,
    learn2learn_taskset,
)
from mlograph.envs.protocol import Env
from mlograph.envs.task import BATCHES, Batch, TaskShape
from mlograph.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Named:
    """What `dataset: NAME` stands for.

    Attributes:
        load: gives a data set for `split=` and what else `options` holds.
        splits: the splits that there are; each holds classes of its own.
    """

    load: Callable[..., ImageClasses]
    splits: tuple[str, ...]


DATASETS: Mapping[str, Named] = {
    "glyphs": Named(glyphs, ("train", "validation", "test")),
    "omniglot": Named(omniglot, ("train", "test")),
}

_SAMPLERS = ("builtin", "learn2learn")


class FewShotEnv:
    """N-way K-shot tasks: `support` to adapt on and `query` to judge by, of the same classes.

    Each batch is (x, y): x (ways · shots, channels, height, width), or ways · queries of them;
    y int64 in 0 … ways − 1. A task draws its classes anew and numbers them at random; no image
    is in both batches.

    Args:
        dataset: `glyphs` (embedded) or `omniglot`, whose splits `train` and `test` hold different
            classes; or any map-style torch data set of (image tensor, integer label). Not needed
            where `tasks` is a task set.
        tasks: who draws: `builtin` (in memory, fast) or `learn2learn` (its MetaDataset, Taskset
            and transforms); or a learn2learn task set, or all three of
            `learn2learn.vision.benchmarks.get_tasksets`, whose tasks have shots + queries samples
            of each class.
        ways: classes of a task.
        shots: samples of each class in `support`.
        queries: samples of each class in `query`.
        seed: a whole number from 0; tasks depend on nothing else.
        options: further arguments for a data set given by name, such as `{root: data/omniglot}`.
        test_dataset: what `split("test")` draws from, where `dataset` is a data set.
        augment: how training images are distorted at random, as in `{rotate: 10, shift: 0.1}`:
            the arguments of `mlograph.envs.Distortion`. Other splits are never distorted.

    Raises:
        UsageError: arguments that are unknown, missing or do not fit the data, or learn2learn
            is asked for and not installed.
    """

    def __init__(  # noqa: PLR0913 (each is a choice of the user's, and all have names)
        self,
        dataset: str | Dataset[Any] | None = None,
        *,
        tasks: str | Taskset | BenchmarkTasksets,
        ways: int,
        shots: int,
        queries: int = 15,
        seed: int = 0,
        options: Mapping[str, Any] | None = None,
        test_dataset: Dataset[Any] | None = None,
        augment: Mapping[str, float] | None = None,
    ) -> None:
        shape = TaskShape(ways, shots, queries)
        self._images: Callable[[], LabelledImages] | None = None
        if isinstance(tasks, str):
            sources = _sources(dataset, options or {}, test_dataset)
            self._images = sources["train"]
            self._splits = _drawn(sources, tasks, shape)
        else:
            if dataset is not None or test_dataset is not None or options:
                raise UsageError("dataset: the task set that `tasks` is has its own; leave it out")
            self._splits = _given(tasks, shape)
        self._tasks = self._splits["train"](seed)
        if augment:
            self._tasks = DistortedTasks(self._tasks, _distortion(augment), seed)

    @property
    def batches(self) -> tuple[str, ...]:
        """`support` and `query`."""
        return BATCHES

    def step(self) -> Mapping[str, Batch]:
        """Draw the next task."""
        task: Mapping[str, Batch] = self._tasks.step()
        return task

    def split(self, name: str, *, seed: int) -> Env:
        """Tasks of the same shape over the classes of another split, drawn independently.

        Raises:
            UsageError: there is no such split.
        """
        if name not in self._splits:
            hint = did_you_mean(name, self._splits)
            missing = "; give a test_dataset" if name == "test" else ""
            raise UsageError(f"split: there is no '{name}' ({hint}){missing}")
        return self._splits[name](seed)

    def examples(self) -> Batch:
        """Everything that training tasks are drawn from, as plain classification.

        Returns:
            Images (N, channels, height, width) and their classes (N,), numbered from 0.

        Raises:
            UsageError: tasks come from a ready task set, which cannot tell.
        """
        if self._images is None:
            raise UsageError("examples: a ready task set does not say what tasks are drawn from")
        images = self._images()
        _, classes = torch.unique(images.labels, return_inverse=True)
        return images.gather(torch.arange(len(classes))), classes

    def state_dict(self) -> dict[str, Any]:
        """The state of what draws the tasks."""
        return self._tasks.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._tasks.load_state_dict(state)


def _distortion(augment: Mapping[str, float]) -> Distortion:
    known = inspect.signature(Distortion).parameters
    for name, value in augment.items():
        if name not in known:
            raise UsageError(f"augment: no '{name}' ({did_you_mean(name, known)})")
        if not isinstance(value, int | float) or value < 0:
            raise UsageError(f"augment: {name} must be a number from 0, got {value!r}")
    return Distortion(**augment)


Splits = dict[str, Callable[[int], Env]]
Sources = dict[str, Callable[[], LabelledImages]]


def _sources(
    dataset: str | Dataset[Any] | None,
    options: Mapping[str, Any],
    test_dataset: Dataset[Any] | None,
) -> Sources:
    """For each split, what gives its images; they are read once, when they are first wanted."""
    sources: Sources = {}
    if isinstance(dataset, str):
        sources |= _named(dataset, options)
    elif dataset is None:
        raise UsageError(f"dataset: give a torch data set or a name; known: {', '.join(DATASETS)}")
    elif options:
        raise UsageError("options: only a data set given by name takes them")
    else:
        sources["train"] = _Once(dataset)
    if test_dataset is not None:
        sources["test"] = _Once(test_dataset)
    return sources


@final
class _Once:
    """Reads a data set when it is first wanted; can be sent to another process, as all here can."""

    def __init__(self, dataset: Dataset[Any]) -> None:
        self._dataset = dataset
        self._images: LabelledImages | None = None

    def __call__(self) -> LabelledImages:
        if self._images is None:
            self._images = labelled_images(self._dataset)
        return self._images


def _named(name: str, options: Mapping[str, Any]) -> Sources:
    if name not in DATASETS:
        raise UsageError(f"dataset: unknown '{name}' ({did_you_mean(name, DATASETS)})")
    named = DATASETS[name]
    parameters = dict(inspect.signature(named.load).parameters)
    del parameters["split"]
    for option in options:
        if option not in parameters:
            hint = did_you_mean(option, parameters)
            raise UsageError(f"options: {name} has no '{option}' ({hint})")
    for parameter in parameters.values():
        if parameter.default is parameter.empty and parameter.name not in options:
            raise UsageError(f"options: {name} needs '{parameter.name}'")
    return {split: partial(named.load, split=split, **options) for split in named.splits}


def _drawn(sources: Sources, sampler: str, shape: TaskShape) -> Splits:
    """For each split, tasks from a seed; its data are read when they are first wanted."""
    if sampler not in _SAMPLERS:
        hint = did_you_mean(sampler, _SAMPLERS)
        raise UsageError(f"tasks: unknown '{sampler}' ({hint})")

    return {name: partial(_env, sampler, shape, source) for name, source in sources.items()}


def _env(sampler: str, shape: TaskShape, source: Callable[[], LabelledImages], seed: int) -> Env:
    images = source()
    if sampler == "builtin":
        return BuiltinTasks(images, shape, seed)
    return TasksetTasks(learn2learn_taskset(images, shape), shape, seed)


def _given(tasks: Taskset | BenchmarkTasksets, shape: TaskShape) -> Splits:
    """For each split of ready task sets, tasks from a seed."""
    if isinstance(tasks, BenchmarkTasksets):
        tasksets = {"train": tasks.train, "validation": tasks.validation, "test": tasks.test}
    else:
        tasksets = {"train": tasks}
    for taskset in tasksets.values():
        if not isinstance(taskset, Taskset):
            raise UsageError(
                "tasks: expected builtin, learn2learn or a learn2learn task set, got "
                f"{type(taskset).__name__}"
            )
    return {name: partial(TasksetTasks, taskset, shape) for name, taskset in tasksets.items()}
