"""What can be learned from batches that are read when they are wanted."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Protocol, final

from mlograph.prefetch.chance import Chance, States, moved
from mlograph.prefetch.choice import Choice


class Seat(Protocol):
    """Where batches are read for: the Env, or an iterable."""

    @property
    def source(self) -> Any:
        """The Env or the iterable."""
        ...

    @property
    def begins(self) -> bool:
        """Whether the last batch was the first of an epoch."""
        ...

    @property
    def position(self) -> dict[str, Any] | None:
        """Where the reading of an iterable stands; None for an Env."""
        ...

    def here(self) -> Any:
        """The next batch, read in this process."""
        ...

    def go_to(self, state: Mapping[str, Any]) -> None:
        """Stand where a copy of the source stood."""
        ...


@final
class Watch:
    """Reads batches, and looks at the clock and at the random generators.

    Attributes:
        owed: for each batch, generators as they were before, among them those that reading it
            moved; to be emptied by whoever makes a copy of the source read the same.
    """

    def __init__(self, seat: Seat, chance: Chance, choice: Choice) -> None:
        self._seat = seat
        self._chance = chance
        self._choice = choice
        self.owed: list[Mapping[int, Any]] = []
        self._after: States | None = None
        self._when: float | None = None
        self._drawn = frozenset[int]()
        self._others = frozenset[int]()

    @property
    def shared(self) -> frozenset[int]:
        """The generators from which the source draws, and others between its batches.

        What begins an epoch does not count: it is not done ahead.
        """
        return self._drawn & self._others

    def read(self) -> Any:
        """The next batch."""
        began, before = time.perf_counter(), self._chance.states()
        if self._after is not None:
            self._others |= moved(self._after, before)
        batch = self._seat.here()
        self._after = self._chance.states()
        drawn = moved(before, self._after)
        if self._seat.begins:
            # Where an epoch begins, all states are kept, to be read again from there.
            self.owed.append(dict(enumerate(before)))
        else:
            self._drawn |= drawn
            self.owed.append({number: before[number] for number in drawn})
        now = time.perf_counter()
        self._choice.took(now - began, None if self._when is None else now - self._when)
        self._when = now
        return batch
