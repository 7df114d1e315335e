"""The random generators that reading from a source may move."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from torch import Tensor

from mlograph.randomness import RandomState
from mlograph.readings import generators_of, set_states, states_of

_CPU = torch.device("cpu")
_NAMES = ("torch", "numpy", "Python's random")

States = tuple[Any, ...]


@final
class Chance:
    """The global generators of torch, numpy and Python, and those that a source has of its own.

    Args:
        source: an iterable; None for an Env, whose own ones are a part of its state.
    """

    def __init__(self, source: object) -> None:
        self._own = generators_of(source)

    def states(self) -> States:
        """Of each generator, in an order that depends on the source alone."""
        world = RandomState.capture(_CPU)
        return (world.cpu, world.numpys, world.pythons, *states_of(self._own))

    def set(self, states: Mapping[int, Any]) -> None:
        """Give some generators another state."""
        world = len(_NAMES)
        if any(number < world for number in states):
            here = self.states()
            cpu, numpys, pythons = (states.get(number, here[number]) for number in range(world))
            RandomState(cpu, None, numpys, pythons).restore(_CPU)
        for number, state in states.items():
            if number >= world:
                set_states([self._own[number - world]], [state])

    def shares_with(self, source: object) -> bool:
        """Whether another source has one of these generators as its own, too."""
        theirs = {id(one) for one in generators_of(source)}
        return any(id(one) in theirs for one in self._own)


def moved(before: States, after: States) -> frozenset[int]:
    """The generators that are not where they were."""
    pairs = enumerate(zip(before, after, strict=True))
    return frozenset(number for number, (one, other) in pairs if not same(one, other))


def same(one: Any, other: Any) -> bool:
    """Whether two states of a generator are equal."""
    if one is other:
        return True
    if isinstance(one, Tensor):
        return isinstance(other, Tensor) and torch.equal(one, other)
    if isinstance(one, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def words(numbers: frozenset[int]) -> str:
    """Generators as people call them."""
    named = [_NAMES[number] for number in sorted(numbers) if number < len(_NAMES)]
    return ", ".join(named) or "a generator of its own"
