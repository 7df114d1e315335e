"""Few-shot tasks: shape, disjointness, determinism, and who draws them."""

import io
import random
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from mlograph.data import ImageClasses, glyphs
from mlograph.envs import Env, FewShotEnv, SplitEnv
from mlograph.envs.builtin_tasks import BuiltinTasks
from mlograph.envs.learn2learn_import import Learn2learnMissingError, import_learn2learn
from mlograph.envs.task import TaskShape
from mlograph.errors import UsageError

try:
    import_learn2learn()
    MISSING = ""
except Learn2learnMissingError as error:
    MISSING = str(error)

with_learn2learn = pytest.mark.skipif(bool(MISSING), reason=f"no learn2learn: {MISSING}")
each_sampler = pytest.mark.parametrize(
    "tasks", ["builtin", pytest.param("learn2learn", marks=with_learn2learn)]
)


def numbered(classes: int, each: int, first: int = 0) -> TensorDataset:
    """Image number i is filled with i and belongs to class first + i // each."""
    numbers = torch.arange(classes * each)
    images = numbers.float()[:, None, None, None].expand(-1, 1, 2, 2)
    return TensorDataset(images, first + numbers // each)


def numbers(batch: tuple[torch.Tensor, torch.Tensor]) -> list[int]:
    """Which images of `numbered` a batch holds."""
    return batch[0][:, 0, 0, 0].long().tolist()


def flat(tasks: list[Mapping[str, Any]]) -> torch.Tensor:
    """Everything in these tasks, to compare bit by bit."""
    return torch.cat([t.flatten().double() for task in tasks for b in task.values() for t in b])


def small_env(tasks: str = "builtin", **changed: Any) -> FewShotEnv:
    arguments: dict[str, Any] = {
        "dataset": numbered(classes=12, each=9),
        "test_dataset": numbered(classes=6, each=9, first=100),
        "tasks": tasks,
        "ways": 4,
        "shots": 2,
        "queries": 3,
    }
    return FewShotEnv(**(arguments | changed))


@each_sampler
def test_a_task_has_its_shape(tasks: str):
    env = FewShotEnv("glyphs", tasks=tasks, ways=5, shots=2, options={"classes": 20})
    assert isinstance(env, SplitEnv)
    assert env.batches == ("support", "query")
    task = env.step()
    assert tuple(task) == env.batches
    for name, each in (("support", 2), ("query", 15)):
        x, y = task[name]
        assert x.shape == (5 * each, 1, 28, 28)
        assert x.dtype == torch.float32
        assert y.dtype == torch.int64
        assert torch.bincount(y).tolist() == [each] * 5


@each_sampler
def test_support_and_query_show_the_same_classes_in_different_images(tasks: str):
    env = small_env(tasks)
    for _ in range(50):
        task = env.step()
        support, query = numbers(task["support"]), numbers(task["query"])
        assert len(set(support) | set(query)) == 4 * 5
        # The class behind each label, found from either batch.
        for batch, found in ((task["support"], support), (task["query"], query)):
            pairs = {(i // 9, int(label)) for i, label in zip(found, batch[1], strict=True)}
            assert len(pairs) == 4
            assert pairs == {
                (i // 9, int(label)) for i, label in zip(support, task["support"][1], strict=True)
            }


@each_sampler
def test_classes_are_numbered_at_random_and_all_are_drawn(tasks: str):
    env = small_env(tasks)
    seen = {
        (i // 9, int(label))
        for _ in range(300)
        for task in [env.step()]
        for i, label in zip(numbers(task["query"]), task["query"][1], strict=True)
    }
    assert seen == {(kind, label) for kind in range(12) for label in range(4)}


@each_sampler
def test_every_image_serves_as_support_and_as_query(tasks: str):
    env = small_env(tasks)
    drawn = [env.step() for _ in range(300)]
    for name in env.batches:
        assert {i for task in drawn for i in numbers(task[name])} == set(range(12 * 9))


@each_sampler
def test_tasks_depend_on_the_seed_only(tasks: str):
    env = small_env(tasks, seed=3)
    expected = flat([env.step() for _ in range(5)])
    env = small_env(tasks, seed=3)
    drawn = []
    for i in range(5):
        random.seed(i)
        np.random.seed(i)
        torch.manual_seed(i)
        drawn.append(env.step())
    assert torch.equal(flat(drawn), expected)
    other = small_env(tasks, seed=4)
    assert not torch.equal(flat([other.step() for _ in range(5)]), expected)


@each_sampler
def test_drawing_leaves_the_global_generators_alone(tasks: str):
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    expected = (random.random(), np.random.rand(), torch.rand(1))
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    env = small_env(tasks)
    env.step()
    env.split("test", seed=1).step()
    assert (random.random(), np.random.rand(), torch.rand(1)) == expected


@each_sampler
def test_a_restored_env_continues_bit_by_bit(tasks: str):
    env = small_env(tasks)
    env.step()
    saved = io.BytesIO()
    torch.save(env.state_dict(), saved)
    expected = [env.step() for _ in range(5)]
    saved.seek(0)
    restored = small_env(tasks, seed=99)
    restored.load_state_dict(torch.load(saved, weights_only=True))
    assert torch.equal(flat([restored.step() for _ in range(5)]), flat(expected))


def test_a_state_is_not_changed_by_later_steps():
    env = small_env()
    state = env.state_dict()
    expected = flat([env.step()])
    env.load_state_dict(state)
    assert torch.equal(flat([env.step()]), expected)


@each_sampler
def test_the_test_split_is_drawn_apart(tasks: str):
    env, undisturbed = small_env(tasks), small_env(tasks)
    test = env.split("test", seed=5)
    assert isinstance(test, Env)
    drawn = [test.step() for _ in range(20)]
    assert max(i for task in drawn for i in numbers(task["query"])) < 6 * 9
    assert torch.equal(flat([env.step()]), flat([undisturbed.step()]))
    again = env.split("test", seed=5)
    assert torch.equal(flat([again.step() for _ in range(20)]), flat(drawn))
    assert not torch.equal(flat([env.split("test", seed=6).step()]), flat(drawn[:1]))


def test_named_data_sets_have_splits_of_different_classes():
    env = FewShotEnv("glyphs", tasks="builtin", ways=3, shots=1, options={"classes": 5})
    pictures = glyphs("test", classes=5).images.flatten(1)
    for split, known in (("test", True), ("train", False)):
        x, _ = env.split(split, seed=0).step()["support"]
        nearest = torch.cdist(x.flatten(1), pictures).min(dim=1).values
        assert (nearest < 0.1).all() == known


def test_examples_are_all_that_training_tasks_are_drawn_from():
    images, classes = small_env(dataset=numbered(classes=3, each=9, first=50), ways=3).examples()
    assert images[:, 0, 0, 0].tolist() == list(range(27))
    assert classes.tolist() == [0] * 9 + [1] * 9 + [2] * 9


def test_any_torch_data_set_will_do():
    class Lazy(Dataset):
        def __len__(self) -> int:
            return 30

        def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
            return torch.full((1, 2, 2), float(index)), index % 3

    env = small_env(dataset=Lazy(), test_dataset=None, ways=3)
    task = env.step()
    assert len({i % 3 for i in numbers(task["support"])}) == 3


def test_classes_may_differ_in_size():
    labels = torch.tensor([7] * 5 + [3] * 50)
    images = torch.arange(55.0)[:, None, None, None]
    env = small_env(dataset=ImageClasses(images, labels), test_dataset=None, ways=2)
    for _ in range(100):
        task = env.step()
        found = [i for name in env.batches for i in numbers(task[name])]
        assert sorted(i for i in found if i < 5) == [0, 1, 2, 3, 4]
        assert len({i for i in found if i >= 5}) == 5


def test_the_builtin_sampler_fetches_each_batch_as_a_whole():
    @dataclass
    class Counted:
        labels: torch.Tensor
        fetched: list[int] = field(default_factory=list)

        def gather(self, indices: torch.Tensor) -> torch.Tensor:
            self.fetched.append(len(indices))
            return torch.zeros(len(indices), 1, 2, 2)

    images = Counted(torch.arange(60) // 10)
    BuiltinTasks(images, TaskShape(ways=4, shots=2, queries=3), seed=0).step()
    assert images.fetched == [8, 12]


MISTAKES: list[tuple[dict[str, Any], str]] = [
    ({"tasks": "built-in"}, "tasks: unknown 'built-in' (did you mean 'builtin'?)"),
    ({"ways": 0}, "ways: must be at least 1, got 0"),
    ({"ways": 13}, "ways: is 13, but the data set has 12 classes"),
    (
        {"queries": 8},
        "shots + queries: is 2 + 8 = 10, but a class of the data set has only 9 samples",
    ),
    ({"dataset": None}, "dataset: give a torch data set or a name; known: glyphs, omniglot"),
    ({"dataset": "glyfs"}, "dataset: unknown 'glyfs' (did you mean 'glyphs'?)"),
    (
        {"dataset": "glyphs", "options": {"clases": 3}},
        "options: glyphs has no 'clases' (did you mean 'classes'?)",
    ),
    ({"dataset": "omniglot"}, "options: omniglot needs 'root'"),
    ({"options": {"root": "x"}}, "options: only a data set given by name takes them"),
    ({"tasks": 3, "dataset": None, "test_dataset": None}, "tasks: expected builtin, learn2learn"),
    ({"tasks": 3}, "dataset: the task set that `tasks` is has its own; leave it out"),
]


@pytest.mark.parametrize(("changed", "message"), MISTAKES)
def test_mistakes_are_named(changed: dict[str, Any], message: str):
    with pytest.raises(UsageError) as caught:
        small_env(**changed)
    assert str(caught.value).startswith(message)


def test_an_unknown_split_is_named():
    with pytest.raises(UsageError, match=r"no 'tset' \(did you mean 'test'\?\)"):
        small_env().split("tset", seed=0)
    with pytest.raises(UsageError, match="give a test_dataset"):
        small_env(test_dataset=None).split("test", seed=0)


def test_importing_envs_imports_neither_learn2learn_nor_torchvision():
    code = (
        "import sys, mlograph.envs; "
        "assert not {'learn2learn', 'torchvision', 'gym'} & sys.modules.keys()"
    )
    root = Path(__file__).parents[2]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


def test_without_learn2learn_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "learn2learn", None)
    monkeypatch.setitem(sys.modules, "torchvision", None)
    with pytest.raises(UsageError) as caught:
        small_env("learn2learn")
    assert "learn2learn==0.2.0" in str(caught.value)
    assert "pip install" in str(caught.value)
    assert "tasks: builtin" in str(caught.value)
