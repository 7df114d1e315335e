"""Batches and random numbers that stay what they were, so that a loop can be run again."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, final

import torch

from mlograph.batches import Feed, moved
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.randomness import RandomState
from mlograph.state import ProblemState, capture, restore


@final
class Tape:
    """A feed that keeps what it gave, and gives it again from any position; implements `Feed`.

    Attributes:
        position: how many batches have been given.
    """

    def __init__(self, problem: Problem) -> None:
        self._source: Feed = problem.feed
        self._device = problem.device
        self._dtype = torch.float64 if problem.spec.precision == "float64" else None
        self._kept: list[Any] = []
        self.position = 0

    def next(self) -> Any:
        """The batch at the present position."""
        if self.position == len(self._kept):
            self._kept.append(moved(self._source.next(), self._device, self._dtype))
        self.position += 1
        return self._kept[self.position - 1]

    def aside(self) -> AbstractContextManager[None]:
        """Whoever tries something out sets the position back."""
        return nullcontext()


@dataclass(frozen=True)
class Snapshot:
    """All that a program is at one moment, for itself or for another one of the same problems."""

    states: Mapping[str, ProblemState]
    positions: Mapping[str, int]
    randomness: RandomState

    @classmethod
    def of(cls, program: Program, tapes: Mapping[str, Tape]) -> Snapshot:
        """The present."""
        device = next(iter(program.problems.values())).device
        return cls(
            {name: capture(problem) for name, problem in program.problems.items()},
            {name: tape.position for name, tape in tapes.items()},
            RandomState.capture(device),
        )

    def put(self, program: Program, tapes: Mapping[str, Tape]) -> None:
        """Make this the present of a program."""
        for name, problem in program.problems.items():
            restore(problem, self.states[name])
            tapes[name].position = self.positions[name]
        self.randomness.restore(next(iter(program.problems.values())).device)
