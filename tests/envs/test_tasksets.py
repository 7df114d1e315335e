"""Ready learn2learn task sets, endless and finite."""

import random
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from mlograph.envs import FewShotEnv
from mlograph.envs.learn2learn_import import Learn2learnMissingError, import_learn2learn
from mlograph.errors import UsageError


@dataclass
class FakeTaskset:
    """Behaves like `learn2learn.data.Taskset`: draws from Python's global generator and caches.

    A description is a start number; sample j of class c is start + 10 c + j, and samples come
    class by class, as after `ConsecutiveLabels`.
    """

    num_tasks: int = -1
    ways: int = 3
    each: int = 4
    first_label: int = 0
    sampled_descriptions: dict[int, Any] = field(default_factory=dict)

    def sample_task_description(self) -> int:
        return 1000 * random.randrange(10**6)

    def get_task(self, task_description: int) -> tuple[Tensor, Tensor]:
        data = [task_description + 10 * c + j for c in range(self.ways) for j in range(self.each)]
        labels = torch.arange(self.ways).repeat_interleave(self.each) + self.first_label
        return torch.tensor(data), labels


def env(taskset: Any, shots: int = 2, queries: int = 2, seed: int = 0) -> FewShotEnv:
    return FewShotEnv(tasks=taskset, ways=3, shots=shots, queries=queries, seed=seed)


def starts(few_shot: FewShotEnv, number: int) -> list[int]:
    """Which tasks were drawn."""
    return [int(few_shot.step()["support"][0][0]) for _ in range(number)]


def test_as_many_queries_as_shots_are_divided_into_even_and_odd():
    task = env(FakeTaskset()).step()
    assert (task["support"][0] % 1000).tolist() == [0, 2, 10, 12, 20, 22]
    assert (task["query"][0] % 1000).tolist() == [1, 3, 11, 13, 21, 23]
    assert task["support"][1].tolist() == [0, 0, 1, 1, 2, 2]


def test_any_number_of_queries_is_divided():
    task = env(FakeTaskset(each=5), shots=2, queries=3).step()
    assert (task["support"][0] % 10).tolist() == [0, 2] * 3
    assert (task["query"][0] % 10).tolist() == [1, 3, 4] * 3


def test_samples_may_come_in_any_order():
    class Shuffled(FakeTaskset):
        def get_task(self, task_description: int) -> tuple[Tensor, Tensor]:
            data, labels = super().get_task(task_description)
            order = torch.tensor([7, 2, 9, 0, 11, 4, 1, 10, 3, 6, 5, 8])
            return data[order], labels[order]

    task = env(Shuffled()).step()
    for name in ("support", "query"):
        x, y = task[name]
        assert (x % 1000 // 10).tolist() == y.tolist() == [0, 0, 1, 1, 2, 2]


def test_a_resumed_env_over_a_finite_set_sees_the_same_tasks():
    first = env(FakeTaskset(num_tasks=6))
    starts(first, 5)
    state = first.state_dict()
    expected = starts(first, 20)
    resumed = env(FakeTaskset(num_tasks=6), seed=9)
    resumed.load_state_dict(state)
    assert starts(resumed, 20) == expected
    assert len(set(expected)) == 6


def test_benchmark_tasksets_have_three_splits():
    tasksets = SimpleNamespace(
        train=FakeTaskset(), validation=FakeTaskset(num_tasks=1), test=FakeTaskset(num_tasks=2)
    )
    few_shot = env(tasksets)
    assert len(set(starts(few_shot, 8))) == 8
    for name, number in (("validation", 1), ("test", 2)):
        split = few_shot.split(name, seed=0)
        drawn = [int(split.step()["support"][0][0]) for _ in range(12)]
        assert len(set(drawn)) == number


def test_a_task_set_does_not_tell_its_examples():
    with pytest.raises(UsageError, match="a ready task set does not say"):
        env(FakeTaskset()).examples()


@pytest.mark.parametrize(
    ("taskset", "message"),
    [
        (
            FakeTaskset(each=10),
            "shots + queries: is 2 + 2 = 4, but a task of the task set has 10 samples of a class; "
            "set queries: 8, or make the task set with 4",
        ),
        (FakeTaskset(ways=5), "ways: is 3, but a task of the task set has 5 classes"),
        (FakeTaskset(first_label=1), "ways: is 3, but a task of the task set has 3 classes, numb"),
    ],
)
def test_a_task_that_does_not_fit_is_named(taskset: FakeTaskset, message: str):
    with pytest.raises(UsageError) as caught:
        env(taskset).step()
    assert str(caught.value).startswith(message)


def test_a_learn2learn_task_set_is_taken_as_it_is():
    try:
        l2l = import_learn2learn()
    except Learn2learnMissingError as error:
        pytest.skip(f"no learn2learn: {error}")
    numbers = torch.arange(80)
    data = torch.utils.data.TensorDataset(numbers.float()[:, None], numbers // 8)
    dataset = l2l.data.MetaDataset(data)
    transforms = [
        l2l.data.transforms.FusedNWaysKShots(dataset, n=3, k=4),
        l2l.data.transforms.LoadData(dataset),
        l2l.data.transforms.RemapLabels(dataset),
        l2l.data.transforms.ConsecutiveLabels(dataset),
    ]
    for finite in (-1, 4):
        taskset = l2l.data.Taskset(dataset, task_transforms=transforms, num_tasks=finite)
        few_shot = env(taskset)
        state = few_shot.state_dict()
        drawn = [few_shot.step()["support"] for _ in range(10)]
        few_shot.load_state_dict(state)
        for x, y in drawn:
            again_x, again_y = few_shot.step()["support"]
            assert torch.equal(again_x, x)
            assert torch.equal(again_y, y)
