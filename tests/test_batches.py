"""Where batches come from: the Env, iterables, and several of them by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from builders import Batches, CountingEnv, failure
from torch.utils.data import DataLoader, TensorDataset

from mlograph.batches import (
    EnvFeed,
    IterableFeed,
    NamedFeeds,
    NoFeed,
    Placed,
    SharedEnv,
    checked_batches,
    moved,
)

CPU = torch.device("cpu")


def feed(source: Any) -> IterableFeed:
    return IterableFeed(source, "problems.a.data")


def test_an_iterable_is_walked_through_again_and_again():
    walk = feed(Batches(1, 2, 3))
    assert [walk.next() for _ in range(7)] == [1, 2, 3, 1, 2, 3, 1]


def test_only_what_is_needed_is_read():
    source = Batches(1, 2, 3)
    feed(source).next()
    assert source.read == 1


@pytest.mark.parametrize("source", [Batches(), iter([1])])
def test_data_that_end_and_cannot_be_repeated_are_an_error(source: Any):
    walk = feed(source)
    if isinstance(source, Iterator):
        walk.next()
    assert failure(walk.next) == (
        "problems.a.data: the data gave no batch, or cannot be read a second time"
    )


def test_data_that_fail_name_the_users_line():
    class Broken:
        def __iter__(self) -> Iterator[int]:
            yield 1
            raise ValueError("torn page")

    walk = feed(Broken())
    walk.next()
    message = failure(walk.next)
    assert message.startswith("problems.a.data: ValueError: torn page (test_batches.py:")


def test_a_reading_aside_begins_anew_and_moves_nothing():
    walk = feed(Batches(1, 2, 3))
    walk.next()
    with walk.aside():
        assert [walk.next() for _ in range(4)] == [1, 2, 3, 1]
    assert walk.next() == 2


def test_a_reading_aside_leaves_the_generator_of_a_loader_alone():
    def shuffled() -> DataLoader[Any]:
        generator = torch.Generator().manual_seed(0)
        return DataLoader(TensorDataset(torch.arange(9)), shuffle=True, generator=generator)

    quiet, disturbed = feed(shuffled()), feed(shuffled())
    expected = [int(quiet.next()[0]) for _ in range(18)]
    found = []
    for _ in range(18):
        found.append(int(disturbed.next()[0]))
        with disturbed.aside():
            disturbed.next()
    assert found == expected


def test_an_iterator_cannot_be_read_aside():
    def aside() -> None:
        with feed(iter([1, 2])).aside():
            pass

    assert failure(aside).startswith("problems.a.data: validation would use up an iterator")


def test_what_goes_wrong_aside_leaves_the_place_as_it_was():
    walk = feed(Batches(1, 2))
    walk.next()
    with pytest.raises(KeyError), walk.aside():
        raise KeyError
    assert walk.next() == 2


def test_named_feeds_give_a_mapping_and_each_is_read_aside():
    feeds = NamedFeeds({"x": feed(Batches(1, 2)), "y": feed(Batches(3, 4, 5)), "z": NoFeed()})
    assert feeds.next() == {"x": 1, "y": 3, "z": None}
    with feeds.aside():
        assert feeds.next() == {"x": 1, "y": 3, "z": None}
    assert feeds.next() == {"x": 2, "y": 4, "z": None}


def test_readers_of_an_env_see_the_same_batch_until_it_steps():
    shared = SharedEnv(CountingEnv())
    one, two = EnvFeed(shared, "number"), EnvFeed(shared, "number")
    shared.step()
    assert one.next() is two.next()
    first = one.next()
    shared.step()
    assert one.next() is not first


def test_another_env_stands_in_without_moving_this_one():
    env = CountingEnv()
    shared = SharedEnv(env)
    shared.step()
    before = shared.batch("number")
    with shared.replaced(CountingEnv(100)):
        shared.step()
        assert int(shared.batch("number")) == 101
    assert shared.batch("number") is before
    assert env.count == 1


def test_tensors_are_moved_wherever_they_are_and_only_floats_change_their_type():
    batch = {"x": [torch.ones(2)], "y": (torch.ones(2, dtype=torch.int64), "name")}
    found = moved(batch, CPU, torch.float64)
    assert found["x"][0].dtype == torch.float64
    assert found["y"][0].dtype == torch.int64
    assert found["y"][1] == "name"
    assert moved(batch, CPU, None)["x"][0] is batch["x"][0]


def test_batches_are_told_from_other_things():
    loader = DataLoader(TensorDataset(torch.ones(2)))
    assert checked_batches(loader) is loader
    assert failure(lambda: checked_batches(loader.dataset)).startswith(
        "a TensorDataset is a Dataset"
    )
    assert failure(lambda: checked_batches(3)) == "expected a DataLoader or an iterable, got a int"
    assert failure(lambda: checked_batches("mine.samples")) == (
        "expected a DataLoader or an iterable, got the text 'mine.samples' "
        "(for what it names, write {_target_: mine.samples})"
    )


def placed(given: Any, last: Placed | None = None) -> Placed:
    return Placed.of(given, CPU, torch.float64, last)


def test_the_same_batch_is_moved_once():
    given = (torch.ones(2, dtype=torch.float32), torch.zeros(2, dtype=torch.int64))
    first = placed(given)
    assert first.batch[0].dtype == torch.float64
    assert placed(given, first) is first


def test_a_batch_that_was_written_into_is_moved_again():
    given = (torch.ones(2, dtype=torch.float32),)
    first = placed(given)
    given[0].add_(1.0)
    assert placed(given, first).batch[0].tolist() == [2.0, 2.0]


@pytest.mark.parametrize(
    "make", [lambda x: [x], lambda x: {"x": x}, lambda x: ({"x": x},)], ids=["list", "dict", "both"]
)
def test_a_batch_that_can_be_filled_anew_is_moved_each_time(make: Any):
    given = make(torch.ones(2))
    first = placed(given)
    assert placed(given, first) is not first


def test_another_batch_is_moved():
    first = placed((torch.ones(2),))
    assert placed((torch.ones(2),), first) is not first
