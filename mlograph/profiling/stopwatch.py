"""Measures what a run does, one activity within another."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import final

from mlograph.profiling.memory import Gauge, Use
from mlograph.profiling.observer import Activity, Aside


@dataclass(frozen=True)
class Memory:
    """Bytes in use.

    Attributes:
        peak: at most, while the activity lasted.
        growth: how much more this was than when it began.
    """

    peak: int
    growth: int


@dataclass(frozen=True)
class Timed:
    """An activity that is over.

    Attributes:
        activity: what was done.
        aside: the innermost part of the run, other than an instruction, that it belongs to.
        depth: instructions that it was a part of.
        seconds: that it took.
        own: the same without the activities within it.
        memory: of the process or the device, where that is measured.
    """

    activity: Activity
    aside: Aside
    depth: int
    seconds: float
    own: float
    memory: Memory | None


Listener = Callable[[Timed], None]


@dataclass
class _Open:
    """An activity that goes on."""

    aside: Aside
    depth: int
    inside: float = 0.0
    peak: int = 0


@final
class Stopwatch:
    """Tells listeners of every activity at its end; implements `Observer`.

    Args:
        listeners: what measuring and telling take is counted as nobody's time.
        gauge: measures memory, if that is asked for.
        wait: returns when a device has done what it was given to do.
    """

    def __init__(
        self,
        listeners: Sequence[Listener],
        gauge: Gauge | None = None,
        wait: Callable[[], None] | None = None,
    ) -> None:
        self._listeners = tuple(listeners)
        self._gauge = gauge
        self._wait = wait
        self._open: list[_Open] = []

    @contextmanager
    def watching(self, activity: Activity) -> Iterator[None]:
        """The activity is carried out inside."""
        arrived = self._now()
        one = self._begin(activity)
        memory = self._look(one)
        began = self._now()
        try:
            yield
        finally:
            seconds = self._now() - began
            self._open.pop()
            used = self._ended(one, memory)
            own = max(0.0, seconds - one.inside)
            timed = Timed(activity, one.aside, one.depth, seconds, own, used)
            for listener in self._listeners:
                listener(timed)
            if self._open:
                self._open[-1].inside += self._now() - arrived

    def _begin(self, activity: Activity) -> _Open:
        above = self._open[-1] if self._open else None
        if isinstance(activity, Aside):
            one = _Open(activity, 0)
        elif above is None:
            one = _Open(Aside.RUN, 0)
        else:
            one = _Open(above.aside, above.depth + 1)
        self._open.append(one)
        return one

    def _look(self, one: _Open) -> int:
        """Bytes in use as an activity begins; those around it keep what they have reached."""
        if self._gauge is None:
            return 0
        use = self._gauge.look()
        if len(self._open) > 1:
            above = self._open[-2]
            above.peak = max(above.peak, use.peak)
        one.peak = use.now
        return use.now

    def _ended(self, one: _Open, before: int) -> Memory | None:
        if self._gauge is None:
            return None
        use: Use = self._gauge.look()
        peak = max(one.peak, use.peak)
        if self._open:
            self._open[-1].peak = max(self._open[-1].peak, peak)
        return Memory(peak, max(0, peak - before))

    def _now(self) -> float:
        if self._wait is not None:
            self._wait()
        return time.perf_counter()
