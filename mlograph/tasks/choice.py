"""Which of two ways is faster: measured on the first windows of a run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

Way = Literal["vectorized", "sequential", "processes"]

# The first window of each way pays for what is made only once.
_UNCOUNTED = 1
_COUNTED = 3


@final
@dataclass
class Choice:
    """Tries both ways in turn, and keeps the one whose fastest window was faster.

    Attributes:
        way: what was chosen; None as long as both are tried.
        seconds: of the windows that were tried, by way.
    """

    way: Way | None = None
    seconds: dict[Way, list[float]] = field(
        default_factory=lambda: {"sequential": [], "vectorized": []}
    )

    def next(self) -> Way:
        """How to run the next window."""
        if self.way is not None:
            return self.way
        tried = {way: len(seconds) for way, seconds in self.seconds.items()}
        return "sequential" if tried["sequential"] <= tried["vectorized"] else "vectorized"

    def took(self, way: Way, seconds: float) -> bool:
        """A window was run; whether that settles it."""
        if self.way is not None:
            return False
        self.seconds[way].append(seconds)
        if min(map(len, self.seconds.values())) < _UNCOUNTED + _COUNTED:
            return False
        best = self.best
        self.way = "vectorized" if best["vectorized"] < best["sequential"] else "sequential"
        return True

    @property
    def best(self) -> dict[Way, float]:
        """The fastest window of each way, of those that count."""
        return {way: min(seconds[_UNCOUNTED:]) for way, seconds in self.seconds.items()}
