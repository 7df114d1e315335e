"""Which way of running a window is fastest: measured on the first windows of a run."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import final

from mlograph.plan import Way

# The first window of each way pays for what is made only once.
_UNCOUNTED = 1
_COUNTED = 3

WORKERS: frozenset[Way] = frozenset({"processes", "both"})


@final
@dataclass
class Choice:
    """Tries several ways, and keeps the one whose fastest window was fastest.

    What one process can do is tried first, in turn; then the ways of worker processes, which take
    seconds to start.

    Attributes:
        way: what was chosen; None as long as ways are tried.
        seconds: of the windows that were tried, by way; those that are left to choose from.
    """

    way: Way | None = None
    seconds: dict[Way, list[float]] = field(default_factory=dict)

    @classmethod
    def among(cls, ways: Iterable[Way]) -> Choice:
        """A choice from these ways, or what is left of one."""
        first, *others = ways
        return cls(None, {way: [] for way in (first, *others)}) if others else cls(first)

    def next(self) -> Way:
        """How to run the next window."""
        if self.way is not None:
            return self.way
        left = [way for way in self.seconds if (way in WORKERS) == self.before_workers]
        return min(left, key=lambda way: len(self.seconds[way]))

    @property
    def before_workers(self) -> bool:
        """Whether worker processes are all that is left to be tried."""
        left = {way for way in self.seconds if not self._is_known(way)}
        return self.way is None and bool(left) and left <= WORKERS

    def took(self, way: Way, seconds: float) -> bool:
        """A window was run; whether that settles it."""
        if self.way is not None or way not in self.seconds:
            return False
        self.seconds[way].append(seconds)
        return self._settled()

    def keep(self, way: Way) -> None:
        """Choose a way, whatever was measured."""
        self.way, self.seconds = way, {}

    def drop(self, *ways: Way) -> bool:
        """Choose without some ways, even if one was chosen before; whether that settles it."""
        for way in ways:
            self.seconds.pop(way, None)
        self.way = None
        return self._settled()

    def forget(self, *ways: Way) -> None:
        """What was measured of ways of which none is chosen yet will not be so again."""
        for way in self.seconds.keys() & ways if self.way is None else ():
            self.seconds[way] = []

    @property
    def best(self) -> dict[Way, float]:
        """The fastest window of each way that was measured, of those that count."""
        return {
            way: min(seconds[_UNCOUNTED:])
            for way, seconds in self.seconds.items()
            if self._is_known(way)
        }

    def _is_known(self, way: Way) -> bool:
        return len(self.seconds[way]) >= _UNCOUNTED + _COUNTED

    def _settled(self) -> bool:
        best = self.best
        if len(self.seconds) == 1:
            (self.way,) = self.seconds
        elif len(best) == len(self.seconds):
            fastest = min(best, key=lambda way: best[way])
            self.way = fastest
        return self.way is not None
