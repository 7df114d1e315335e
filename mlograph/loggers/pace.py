"""How fast a run goes, and how long it will take."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import final

# Looks at the clock, some a second: what was long ago says little of what comes.
_REMEMBERED = 300


@final
class Pace:
    """Updates a second, as of late.

    Args:
        total: updates to make.
        clock: seconds; by default of this machine.
    """

    def __init__(self, total: int, clock: Callable[[], float] | None = None) -> None:
        self.total = total
        self._clock = clock or time.monotonic
        self._known: deque[tuple[float, int]] = deque([(self._clock(), 0)], _REMEMBERED)

    def begin_at(self, step: int) -> None:
        """The run goes on from here; what was done before says nothing of its pace."""
        self._known.clear()
        self._known.append((self._clock(), step))

    def note(self, step: int) -> None:
        """`step` updates have been made."""
        self._known.append((self._clock(), step))

    @property
    def rate(self) -> float:
        """Updates a second; 0 as long as it is not known."""
        (began, first), (now, last) = self._known[0], self._known[-1]
        return (last - first) / (now - began) if last > first and now > began else 0.0

    @property
    def left(self) -> float:
        """Seconds until the end, at this rate; 0 as long as it is not known."""
        return (self.total - self._known[-1][1]) / self.rate if self.rate else 0.0
