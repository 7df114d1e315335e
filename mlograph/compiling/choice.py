"""Whether a derivative is worth compiling: time to compile against what the rest of a run saves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, final

Way = Literal["compiled", "plain"]

# The first evaluation pays for what is made only once.
_UNCOUNTED = 1
_COUNTED = 7
# Compiled code takes a half to nine tenths of the time; a tenth of it must pay for compiling.
_LEAST_SAVED = 0.1


@final
@dataclass
class Choice:
    """Times the first evaluations, and estimates what compiling would save.

    Attributes:
        way: what was chosen; None as long as nothing is.
        seconds: of the evaluations so far.
        first: updates that the problem had made at the first of them.
        updates: the same at the last of them.
    """

    way: Way | None = None
    seconds: list[float] = field(default_factory=list)
    first: int = 0
    updates: int = 0

    def took(self, seconds: float, updates: int) -> None:
        """One more evaluation, at so many updates of its problem."""
        if not self.seconds:
            self.first = updates
        self.seconds.append(seconds)
        self.updates = updates

    @property
    def known(self) -> bool:
        """Whether there is enough to decide on."""
        return len(self.seconds) >= _UNCOUNTED + _COUNTED and self.updates > self.first

    @property
    def best(self) -> float:
        """Seconds of the fastest evaluation of those that count."""
        return min(self.seconds[_UNCOUNTED:])

    def remaining(self, total: int) -> float:
        """Evaluations still to come, `total` being the updates of the problem in the whole run."""
        each = (len(self.seconds) - 1) / (self.updates - self.first)
        return each * max(0, total - self.updates)

    def worth(self, total: int, weight: float, expected: float) -> bool:
        """Whether a tenth of all that is to come exceeds the time that compiling will take.

        Args:
            total: updates of the problem in the whole run.
            weight: an evaluation with all that is done with it, in evaluations.
            expected: seconds to compile it.
        """
        return _LEAST_SAVED * self.remaining(total) * weight * self.best >= expected
