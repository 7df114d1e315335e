"""Whether it pays to read ahead: measured on the first batches of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal, final

Way = Literal["ahead", "here"]

# The first batch pays for what is made only once.
_UNCOUNTED = 1
_COUNTED = 5
# A process takes seconds of a processor core to start, and what it saves is not known before.
_LEAST_SAVED = 10.0
_LEAST_SHARE = 0.05


@final
@dataclass
class Choice:
    """Times the first batches, then some that were read ahead, and keeps what was faster.

    Attributes:
        way: what was chosen; None as long as nothing is.
        depth: batches that are taken at once, before anything is computed with them.
        seconds: each batch took to read.
        between: each batch and all that was done with the one before took.
        ahead: the same, of batches that were read ahead.
    """

    depth: int
    way: Way | None = None
    seconds: list[float] = field(default_factory=list)
    between: list[float] = field(default_factory=list)
    ahead: list[float] = field(default_factory=list)

    @property
    def known(self) -> bool:
        """Whether there is enough to decide on."""
        return len(self.between) >= self._counted

    @property
    def tried(self) -> bool:
        """The same of those that were read ahead."""
        return len(self.ahead) >= self._counted

    @property
    def reading(self) -> float:
        """Seconds that a batch takes to read."""
        return median(self.seconds[_UNCOUNTED:])

    @property
    def here(self) -> float:
        """Seconds from one batch to the next, if it is read when it is wanted."""
        return self._typical(self.between)

    @property
    def there(self) -> float:
        """Seconds from one batch to the next, if it is read ahead."""
        return self._typical(self.ahead)

    def took(self, seconds: float, between: float | None) -> None:
        """One more batch, and the time since the last one, if there was one."""
        if self.known:
            return
        self.seconds.append(seconds)
        if between is not None:
            self.between.append(between)

    def words(self, place: str) -> str:
        """What was found out, and what follows."""
        verdict = "on" if self.way == "ahead" else "off"
        return (
            f"{place}: reading takes {self.reading:.3g} s of {self.here:.3g} s from one batch to "
            f"the next, and {self.there:.3g} s are left where it is read ahead: from here "
            f"engine.execution.prefetch is {verdict} for it"
        )

    def worth(self, left: int) -> bool:
        """Whether so many batches that are left could save more than it takes to find out."""
        saved = min(self.reading, self.here - self.reading)
        return saved >= _LEAST_SHARE * self.here and saved * left >= _LEAST_SAVED

    @property
    def _counted(self) -> int:
        return _UNCOUNTED + _COUNTED * self.depth

    def _typical(self, seconds: Sequence[float]) -> float:
        """What is done with batches that come at once is done after the last of them."""
        counted, size = seconds[_UNCOUNTED:], self.depth
        rows = [counted[at : at + size] for at in range(0, len(counted) - size + 1, size)]
        return median(sum(row) / size for row in rows)
