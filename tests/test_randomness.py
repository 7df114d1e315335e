"""The states of the global generators are taken, compared and put back exactly."""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mlograph.randomness import RandomState, global_state, set_global_state, untouched

CPU = torch.device("cpu")


def draws() -> tuple[float, ...]:
    """An odd number of normal ones: numpy and Python keep the second of each pair."""
    return (
        float(torch.rand(())),
        float(np.random.randn()),
        float(np.random.rand()),
        random.gauss(0.0, 1.0),
        random.random(),
    )


@pytest.fixture(autouse=True)
def outside_is_left_alone():
    with untouched(CPU):
        yield


@pytest.mark.parametrize("before", [0, 1, 2])
def test_numbers_come_again_when_the_state_is_put_back(before: int):
    for _ in range(before):
        draws()
    state = RandomState.capture(CPU)
    first = [draws(), draws()]
    state.restore(CPU)
    assert [draws(), draws()] == first


@pytest.mark.parametrize("before", [0, 1])
def test_a_replay_leaves_no_trace(before: int):
    for _ in range(before):
        draws()
    state = RandomState.capture(CPU)
    drawn = draws()
    now = RandomState.capture(CPU)
    with state.replayed(CPU):
        assert draws() == drawn
    assert RandomState.capture(CPU).same(now)
    following = draws()
    now.restore(CPU)
    assert draws() == following


def test_the_second_of_a_pair_of_normal_numbers_counts_as_drawn():
    """It is taken from what numpy keeps, while the generator itself stands still."""
    np.random.randn()
    kept = RandomState.capture(CPU)
    second = np.random.randn()
    taken = RandomState.capture(CPU)
    assert not taken.same(kept)
    kept.restore(CPU)
    assert np.random.randn() == second
    taken.restore(CPU)
    assert np.random.randn() != second


def test_what_was_not_drawn_from_is_one_object():
    """Taking and comparing the states of numpy and Python costs as much as a small network."""
    earlier = RandomState.capture(CPU)
    torch.rand(3)
    later = RandomState.capture(CPU)
    assert later.numpys is earlier.numpys
    assert later.pythons is earlier.pythons
    assert not later.same(earlier)


@pytest.mark.parametrize(
    "change",
    [
        lambda: np.random.seed(5),
        lambda: random.seed(5),
        lambda: np.random.set_state(np.random.RandomState(3).get_state()),
        lambda: np.random.shuffle([1, 2, 3]),
        lambda: random.shuffle([1, 2, 3]),
    ],
)
def test_every_change_is_seen(change: Callable[[], None]):
    earlier = RandomState.capture(CPU)
    change()
    later = RandomState.capture(CPU)
    assert not later.same(earlier)
    earlier.restore(CPU)
    assert RandomState.capture(CPU).same(earlier)


def test_a_state_that_was_set_for_everybody_is_seen():
    np.random.randn()
    with_second = global_state()
    np.random.randn()
    without = RandomState.capture(CPU)
    set_global_state(with_second)
    assert not RandomState.capture(CPU).same(without)


def test_the_second_of_a_pair_of_pythons_normal_numbers_counts_as_drawn():
    random.gauss(0.0, 1.0)
    kept = RandomState.capture(CPU)
    second = random.gauss(0.0, 1.0)
    taken = RandomState.capture(CPU)
    assert not taken.same(kept)
    kept.restore(CPU)
    assert random.gauss(0.0, 1.0) == second
    taken.restore(CPU)
    assert random.gauss(0.0, 1.0) != second


@pytest.mark.parametrize("draw", [random.random, lambda: random.gauss(0.0, 1.0)])
def test_one_number_of_pythons_is_seen(draw: Callable[[], float]):
    """The state is only asked for where the generator's memory has changed."""
    earlier = RandomState.capture(CPU)
    draw()
    assert not RandomState.capture(CPU).same(earlier)


def test_a_state_that_somebody_else_set_is_seen():
    RandomState.capture(CPU)
    random.seed(5)
    wanted = random.getstate()
    assert RandomState.capture(CPU).pythons == wanted
    random.random()
    random.setstate(wanted)
    assert RandomState.capture(CPU).pythons == wanted


def test_without_a_look_at_the_memory_the_states_are_the_same(monkeypatch: pytest.MonkeyPatch):
    """On another Python than CPython, the state itself is asked for every time."""
    monkeypatch.setattr("mlograph.randomness._PYTHONS_WORDS", None)
    earlier = RandomState.capture(CPU)
    assert RandomState.capture(CPU).pythons is earlier.pythons
    random.random()
    assert not RandomState.capture(CPU).same(earlier)
