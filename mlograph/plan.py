"""What a run executes: a flat tuple of instructions, as data that can be printed and tested."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import ceil
from typing import Literal


@dataclass(frozen=True)
class EnvStep:
    """The Env moves on: from here, its readers see new batches."""

    def __str__(self) -> str:
        return "EnvStep"


@dataclass(frozen=True)
class Start:
    """An inner loop of a problem begins: restart it if it starts from an upper problem."""

    problem: str

    def __str__(self) -> str:
        return f"Start({self.problem})"


@dataclass(frozen=True)
class Backward:
    """One gradient of a problem on one batch, its hypergradient included, is accumulated."""

    problem: str

    def __str__(self) -> str:
        return f"Backward({self.problem})"


@dataclass(frozen=True)
class Update:
    """The optimiser of a problem applies what was accumulated."""

    problem: str

    def __str__(self) -> str:
        return f"Update({self.problem})"


@dataclass(frozen=True)
class Step:
    """`Backward` and `Update` of a problem that accumulates nothing."""

    problem: str

    def __str__(self) -> str:
        return f"Step({self.problem})"


Instruction = EnvStep | Start | Backward | Update | Step
Way = Literal["sequential", "vectorized", "processes", "both"]

_ON_CPU = 8


@dataclass(frozen=True)
class Tasks:
    """Inner loops for the passes of one update of `upper`; none depends on another.

    Attributes:
        upper: accumulates a gradient over them.
        lower: whose loops they are; each starts at the same parameters of `upper`.
        count: how many.
        body: what is done for one of them, from its batches to `Backward(upper)`.
        ways: how they may be run, one after another first: as is fastest; one way was asked for.
        against: why they are not run in the other ways, in words.
        chunk: at most so many at once; by default eight on a CPU, whose caches hold no more, and
            all elsewhere.
        workers: how many processes; by default one for each processor core.
    """

    upper: str
    lower: str
    count: int
    body: tuple[Instruction, ...]
    ways: tuple[Way, ...] = ("sequential", "vectorized", "processes", "both")
    against: tuple[str, ...] = ()
    chunk: int | None = None
    workers: int | None = None

    @property
    def asked(self) -> bool:
        """Whether one way was asked for."""
        return len(self.ways) == 1

    @property
    def instructions(self) -> tuple[Instruction, ...]:
        """The same, one by one."""
        return self.body * self.count

    def chunks(self, device: str = "cpu") -> tuple[int, ...]:
        """How many are run at once on a device of this type, one chunk after another."""
        most = _ON_CPU if device == "cpu" else self.count
        size = min(self.chunk or most, self.count)
        rest = self.count % size
        return (size,) * (self.count // size) + ((rest,) if rest else ())

    def shares(self, workers: int) -> tuple[int, ...]:
        """How many a worker process runs at once, one share after another: about the same each."""
        rounds = -(-self.count // (workers * (self.chunk or _ON_CPU)))
        number = min(self.count, workers * rounds)
        size, larger = divmod(self.count, number)
        return (size + 1,) * larger + (size,) * (number - larger)

    def share(self, count: int) -> Tasks:
        """Some of them, all at once."""
        return replace(self, count=count, chunk=count)

    def __str__(self) -> str:
        return f"Tasks({self.upper}, {self.count} × {self.lower})"


@dataclass(frozen=True)
class OneByOne:
    """Why the inner loops for the passes of one update of `upper` are not run at once."""

    upper: str
    reason: str


Executed = Instruction | Tasks


@dataclass(frozen=True)
class Rate:
    """How often a problem acts in one period: `passes` backward passes, `updates` updates."""

    passes: int
    updates: int


@dataclass(frozen=True)
class Visit:
    """One problem on a sweep: its adjoint is pulled back to everything in `sends_to`.

    Attributes:
        problem: whose solution map is differentiated.
        sends_to: problems (the sweep's upper one included) that receive a contribution.
        total: its condition is on its total gradient, through the problems of its own sweep.
    """

    problem: str
    sends_to: tuple[str, ...]
    total: bool = False


@dataclass(frozen=True)
class Sweep:
    """How the hypergradient of `upper` is gathered: problems in the order they are visited.

    Attributes:
        upper: the problem whose hypergradient this is.
        visits: every problem once; contributions only go forward in this order.
        approximations: in words, what this sweep leaves out; empty if nothing.
    """

    upper: str
    visits: tuple[Visit, ...]
    approximations: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """The compiled schedule of a graph.

    Attributes:
        prologue: warm-up, executed once.
        period: executed again and again until `counted` has made `steps` updates.
        rates: passes and updates of every problem in one period.
        sweeps: of every problem that has problems below it.
        counted: the problem whose updates are counted.
        steps: updates of `counted` to make after the warm-up.
        inner: what the problems below `counted` do for one of its passes, and no others.
        tasks: inner loops of the period that may be run at once, and why others may not.
    """

    prologue: tuple[Instruction, ...]
    period: tuple[Instruction, ...]
    rates: Mapping[str, Rate]
    sweeps: Mapping[str, Sweep]
    counted: str
    steps: int
    inner: tuple[Instruction, ...] = ()
    tasks: tuple[Tasks | OneByOne, ...] = ()

    @cached_property
    def executed(self) -> tuple[Executed, ...]:
        """The period as a run executes it: inner loops that may be run at once are one `Tasks`."""
        return tuple(_gathered(self.period, [x for x in self.tasks if isinstance(x, Tasks)]))

    @cached_property
    def answering(self) -> frozenset[str]:
        """The problems through whose solutions some hypergradient flows."""
        visits = (visit for sweep in self.sweeps.values() for visit in sweep.visits)
        return frozenset(visit.problem for visit in visits)

    @property
    def periods(self) -> int:
        """How many periods it takes to make `steps` updates of `counted`."""
        return ceil(self.steps / self.rates[self.counted].updates)


def _gathered(period: tuple[Instruction, ...], windows: Iterable[Tasks]) -> Iterator[Executed]:
    patterns = [(one, one.instructions) for one in windows]
    at = 0
    while at < len(period):
        for one, pattern in patterns:
            begins = period[at : at + len(one.body)] == one.body
            if begins and period[at : at + len(pattern)] == pattern:
                yield one
                at += len(pattern)
                break
        else:
            yield period[at]
            at += 1


@dataclass(frozen=True)
class Repeat:
    """`body`, `times` times over: how a flat plan is shown."""

    times: int
    body: tuple[Instruction | Repeat, ...]

    def __str__(self) -> str:
        if len(self.body) == 1:
            return f"{self.times} × {self.body[0]}"
        return f"{self.times} × [{', '.join(map(str, self.body))}]"


Folded = Instruction | Repeat

_WORK = 1_000_000


def fold(instructions: Sequence[Instruction]) -> tuple[Folded, ...]:
    """The shortest reading of a flat plan: blocks that follow themselves become a `Repeat`.

    Short blocks are folded first, so inner loops end up inside outer ones.
    """
    tokens: list[Folded] = list(instructions)
    ids, width = _numbered(tokens), 1
    # The longer the list, the shorter the blocks that are looked for: the work is bounded.
    while width <= min(len(tokens) // 2, max(_WORK // max(len(tokens), 1), 16)):
        if max(ids) == len(ids) - 1:
            break  # Nothing is there twice.
        folded = list(_fold_blocks(tokens, ids, width))
        # A fold makes new neighbours equal at smaller widths only if it shortened the list.
        shorter = len(folded) < len(tokens)
        width = 1 if shorter and width > 1 else width + 1
        tokens, ids = folded, _numbered(folded) if shorter else ids
    return tuple(tokens)


def _numbered(tokens: Sequence[Folded]) -> list[int]:
    """The same number for the same token, from 0 on."""
    numbers: dict[Folded, int] = {}
    return [numbers.setdefault(token, len(numbers)) for token in tokens]


def _fold_blocks(tokens: list[Folded], ids: list[int], width: int) -> Iterator[Folded]:
    at = 0
    while at < len(ids):
        block, end = ids[at : at + width], at + width
        while end + width <= len(ids) and ids[end] == block[0] and ids[end : end + width] == block:
            end += width
        times = (end - at) // width
        if times > 1:
            yield Repeat(times, tuple(tokens[at : at + width]))
            at = end
        else:
            yield tokens[at]
            at += 1


def text(instructions: Sequence[Instruction]) -> str:
    """Instructions as people read them: `16 × [EnvStep, Start(inner), …], Update(outer)`."""
    return ", ".join(map(str, fold(instructions)))
