"""Sources of batches that are read on from where they were."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, TensorDataset

from mlograph.errors import StorageError
from mlograph.randomness import seed_everything
from mlograph.readings import Reading, fingerprint, generators_of


class Augmented(Dataset[Tensor]):
    """Draws from everything there is."""

    def __init__(self) -> None:
        self.own = torch.Generator().manual_seed(1)
        self.other = np.random.default_rng(2)
        self.third = random.Random(3)

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> Tensor:
        drawn = [torch.rand(()), np.random.random(), random.random()]
        drawn += [torch.rand((), generator=self.own), self.other.random(), self.third.random()]
        return torch.tensor([index, *map(float, drawn)])


class Stream(IterableDataset[Tensor]):
    """A stream without end."""

    def __iter__(self) -> Iterator[Tensor]:
        while True:
            yield torch.rand(2)


class Positioned:
    """Tells its own position, and cannot be read twice."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[int]:
        while self.at < 5:
            self.at += 1
            yield self.at
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.at = state["at"]


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def numbers() -> Iterator[float]:
    while True:
        yield random.random()


SOURCES: dict[str, Callable[[], Iterable[Any]]] = {
    "list": lambda: [1, 2, 3],
    "DataLoader": lambda: DataLoader(Augmented(), 2, shuffle=True),
    "generator of its own": lambda: DataLoader(Augmented(), 2, shuffle=True, generator=seeded()),
    "sampler": lambda: DataLoader(
        Augmented(), 2, sampler=RandomSampler(range(7), replacement=True, generator=seeded())
    ),
    "two workers": lambda: DataLoader(Augmented(), 2, shuffle=True, num_workers=2),
    "persistent workers": lambda: DataLoader(
        Augmented(), 2, shuffle=True, num_workers=2, persistent_workers=True
    ),
    "stream": lambda: DataLoader(Stream(), 2),
    "iterator": numbers,
    "positioned": Positioned,
}


def drawn(reading: Reading, number: int) -> list[str]:
    """Fingerprints of the next batches, over the ends of epochs; others draw in between."""
    found = []
    while len(found) < number:
        try:
            found.append(fingerprint(reading.draw()))
        except StopIteration:
            continue
        torch.rand(1), random.random(), np.random.random()
    return found


@pytest.mark.parametrize("before", [0, 1, 2, 4, 6])
@pytest.mark.parametrize("name", SOURCES)
def test_reading_goes_on_where_it_was(name: str, before: int):
    if "workers" in name and before not in {1, 6}:
        pytest.skip("slow")
    seed_everything(0)
    reading = Reading(SOURCES[name](), "problems.a.data")
    drawn(reading, before)
    state, random_state = reading.state_dict(), torch.get_rng_state()
    python, numpy = random.getstate(), np.random.get_state()
    expected = drawn(reading, 6)
    seed_everything(1)
    again = Reading(SOURCES[name](), "problems.a.data")
    again.load_state_dict(state)
    torch.set_rng_state(random_state)
    random.setstate(python)
    np.random.set_state(numpy)
    assert drawn(again, 6) == expected


def test_reading_again_leaves_the_global_generators_alone():
    reading = Reading(DataLoader(Augmented(), 2, shuffle=True), "a")
    drawn(reading, 2)
    state = reading.state_dict()
    again = Reading(DataLoader(Augmented(), 2, shuffle=True), "a")
    before = torch.get_rng_state()
    again.load_state_dict(state)
    assert torch.equal(torch.get_rng_state(), before)


class Forgetful:
    """Gives other batches each time, from a state that nobody can see."""

    def __init__(self) -> None:
        counter = iter(range(100))
        self.next = lambda: next(counter)

    def __iter__(self) -> Iterator[int]:
        yield from (self.next(), self.next())


def test_data_that_cannot_be_read_again_are_named():
    reading = Reading(Forgetful(), "problems.a.data")
    drawn(reading, 3)
    with pytest.raises(StorageError) as caught:
        Reading(Forgetful(), "problems.a.data").load_state_dict(reading.state_dict())
    assert str(caught.value).startswith("problems.a.data: read again, the data give other batches")


def test_data_that_have_become_fewer_are_named():
    reading = Reading([1, 2, 3], "problems.a.data")
    drawn(reading, 3)
    with pytest.raises(StorageError, match=r"problems\.a\.data: the data ended before they did"):
        Reading([1, 2], "problems.a.data").load_state_dict(reading.state_dict())


def test_generators_are_found_once_wherever_they_are():
    data, generator = Augmented(), seeded()
    sampler = RandomSampler(data, generator=generator)
    found = generators_of(DataLoader(data, sampler=sampler, generator=generator))
    wanted = (generator, data.own, data.other, data.third)
    assert {id(one) for one in found} == {id(one) for one in wanted}
    assert len(found) == 4
    assert generators_of([1]) == generators_of(numbers()) == []
    assert generators_of(DataLoader(TensorDataset(torch.ones(2)))) == []
