"""Sums of what was measured, by instruction and by problem."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any, final

from mlograph.plan import EnvStep, Executed, Tasks
from mlograph.profiling.observer import Aside
from mlograph.profiling.stopwatch import Timed


@dataclass(frozen=True)
class Row:
    """One line of a profile.

    Attributes:
        kind: of the instructions, such as `Step`; empty for those of a problem together, and the
            name of what is no instruction.
        problem: whose instructions they are; empty where they are nobody's.
        calls: how many there were.
        seconds: all together, without instructions that were carried out within them.
        share: of the seconds of the run.
        longest: seconds that one of them took at most.
        peak: bytes in use at most while one lasted; None where that is not measured.
        growth: by how much this was more, at most, than when it began.
    """

    kind: str
    problem: str
    calls: int
    seconds: float
    share: float
    longest: float
    peak: int | None
    growth: int | None

    @property
    def mean(self) -> float:
        """Seconds that one of them took."""
        return self.seconds / self.calls if self.calls else 0.0

    @property
    def name(self) -> str:
        """As a plan writes it: `Step(inner)`."""
        return f"{self.kind}({self.problem})" if self.kind and self.problem else self._one

    @property
    def _one(self) -> str:
        return self.kind or self.problem


@dataclass
class _Sum:
    calls: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    peak: int | None = None
    growth: int | None = None

    def add(self, timed: Timed, *, own: bool) -> None:
        """One more; `own`: it is one of those that are counted, not a part of one."""
        self.seconds += timed.own
        if own:
            self.calls += 1
            self.longest = max(self.longest, timed.seconds)
        if timed.memory is not None:
            self.peak = max(self.peak or 0, timed.memory.peak)
            self.growth = max(self.growth or 0, timed.memory.growth)


@final
@dataclass
class Profile:
    """Where the time and the memory of a run went.

    Attributes:
        device: of the run, in words.
        measured: whose memory `peak` tells of, in words; empty where nobody's.
        peak: bytes in use at most; None where that is not measured.
    """

    device: str = ""
    measured: str = ""
    peak: int | None = None
    _sums: dict[tuple[str, str], _Sum] = field(default_factory=dict)

    def note(self, timed: Timed) -> None:
        """Something is over."""
        if timed.activity is Aside.RUN:
            self.peak = None if timed.memory is None else timed.memory.peak
        key = (timed.aside.value, "")
        if timed.aside is Aside.RUN and not isinstance(timed.activity, Aside):
            key = _key(timed.activity)
        self._sums.setdefault(key, _Sum()).add(timed, own=_counts(timed))

    @property
    def seconds(self) -> float:
        """Of the run, without what was built before it and without what measuring takes."""
        return sum(one.seconds for one in self._sums.values())

    def instructions(self) -> tuple[Row, ...]:
        """By kind and problem, and what a run does besides; the longest first."""
        rows = (self._row(kind, problem, [one]) for (kind, problem), one in self._sums.items())
        return tuple(sorted(rows, key=lambda row: -row.seconds))

    def problems(self) -> tuple[Row, ...]:
        """By problem; loops that were run at once are those of two."""
        names = dict.fromkeys(problem for _, problem in self._sums if problem)
        rows = (self._row("", name, self._of(name)) for name in names)
        return tuple(sorted(rows, key=lambda row: -row.seconds))

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return {
            "device": self.device,
            "seconds": self.seconds,
            "memory": {"of": self.measured, "peak": self.peak},
            "instructions": [_flat(row) for row in self.instructions()],
            "problems": [_flat(row) for row in self.problems()],
        }

    def _of(self, problem: str) -> Iterator[_Sum]:
        return (one for (_, name), one in self._sums.items() if name == problem)

    def _row(self, kind: str, problem: str, sums: Iterable[_Sum]) -> Row:
        parts, whole = tuple(sums), self.seconds
        seconds = sum(one.seconds for one in parts)
        return Row(
            kind,
            problem,
            calls=sum(one.calls for one in parts),
            seconds=seconds,
            share=seconds / whole if whole else 0.0,
            longest=max(one.longest for one in parts),
            peak=_most(one.peak for one in parts),
            growth=_most(one.growth for one in parts),
        )


def _counts(timed: Timed) -> bool:
    """Whether it is counted as one; what a validation executes is a part of that."""
    return isinstance(timed.activity, Aside) or timed.aside is Aside.RUN


def _key(instruction: Executed) -> tuple[str, str]:
    kind = type(instruction).__name__
    if isinstance(instruction, EnvStep):
        return kind, "env"
    if isinstance(instruction, Tasks):
        return kind, f"{instruction.lower}, {instruction.upper}"
    return kind, instruction.problem


def _most(values: Iterable[int | None]) -> int | None:
    return max((value for value in values if value is not None), default=None)


def _flat(row: Row) -> dict[str, Any]:
    return {**asdict(row), "mean": row.mean}
