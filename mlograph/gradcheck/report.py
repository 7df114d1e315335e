"""What a check of hypergradients asks, and what it finds: values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from pathlib import Path

# What finite differences are taken of. They answer different questions:
SOLVED = "solved"  # how the loss moves where every lower problem is solved to its end
AS_RUN = "as run"  # how it moves where the inner loops are run again as they were run

KINDS = (SOLVED, AS_RUN)

PRECISIONS = ("float64", "graph")


@dataclass(frozen=True)
class Settings:
    """How to check.

    Attributes:
        uppers: whose hypergradients; all that there are, if empty.
        methods: which registered methods to compare; all, if empty.
        references: which of `KINDS`; both, if empty.
        directions: random unit directions for finite differences.
        step: of the differences; None extrapolates them from several.
        tol: the largest relative error with which the graph's own method passes.
        precision: one of `PRECISIONS`: in which numbers; `graph` takes what the file says.
        repeats: runs over which the time of a method is the median.
        seed: of the directions.
        start: a run directory (or a checkpoint) to begin at the end of, instead of at the start.
        budget: seconds that the check may take, about; infinite for no limit. The graph's own
            method is computed whatever it takes; what there is no time for is left out and named.
    """

    uppers: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    directions: int = 3
    step: float | None = None
    tol: float = 0.01
    precision: str = "float64"
    repeats: int = 3
    seed: int = 0
    start: Path | None = None
    budget: float = 120.0


@dataclass(frozen=True)
class Reference:
    """Finite differences of an upper objective along random directions.

    Attributes:
        kind: one of `KINDS`.
        slopes: dF/dt along each direction.
        doubt: how far they may be off, relative to their size; NaN where there are none.
        floor: slopes that are less cannot be told from zero.
        trouble: why they cannot be relied on, in words; empty if they can.
        asked: how many directions there were to be; there are fewer where time ran out.
    """

    kind: str
    slopes: tuple[float, ...] = ()
    doubt: float = float("nan")
    floor: float = 0.0
    trouble: str = ""
    asked: int = 0

    @property
    def holds(self) -> bool:
        """Whether something can be judged by it."""
        return not self.trouble


@dataclass(frozen=True)
class Solve:
    """How the linear system of one lower problem ended.

    Attributes:
        problem: whose.
        status: in words.
        products: that it took.
        residual: relative; NaN where it is not known.
    """

    problem: str
    status: str
    products: int
    residual: float


@dataclass(frozen=True)
class Row:
    """What one method gives at the point of the check.

    Attributes:
        name: the method, with its options where they are not the defaults.
        method: its name in a graph file; empty where several are mixed.
        configured: it is what the graph asks for.
        errors: ‖⟨h, d⟩ − dF/dt‖ / ‖dF/dt‖ over all directions, by kind of reference.
        at_rest: the same against `solved`, but of h where the lower problems are solved.
        cosine: of h with the best row's.
        ratio: ‖h‖ to that of the best row.
        seconds: for an inner loop and the hypergradient after it, the median.
        megabytes: at the most, kept for derivatives.
        solves: of its linear systems.
        failure: why there is nothing of all this; empty where there is.
    """

    name: str
    method: str
    configured: bool = False
    errors: Mapping[str, float] | None = None
    at_rest: float = float("nan")
    cosine: float = float("nan")
    ratio: float = float("nan")
    seconds: float = float("nan")
    megabytes: float = float("nan")
    solves: tuple[Solve, ...] = ()
    failure: str = ""

    def error(self, kind: str) -> float:
        """Against the reference of this kind; NaN where there is none."""
        return (self.errors or {}).get(kind, float("nan"))


@dataclass(frozen=True)
class UpperReport:
    """The check of one hypergradient.

    Attributes:
        upper: whose.
        size: how many parameters it has.
        through: the lower problems that its sweep visits, with their numbers of parameters.
        claimed: the kind of reference that the graph's own method claims to agree with.
        judged_by: the kind that it is compared with, another one where that could not be had.
        references: what there is of them.
        rows: the graph's own choice first.
        best: name of the row that the cosines are with; empty where none could be told.
        notes: what to know of the references.
        advice: what to do.
        passed: whether the graph's own method agrees.
    """

    upper: str
    size: int
    through: tuple[tuple[str, int], ...]
    claimed: str
    judged_by: str
    references: tuple[Reference, ...]
    rows: tuple[Row, ...]
    best: str
    notes: tuple[str, ...]
    advice: tuple[str, ...]
    passed: bool

    @property
    def own(self) -> Row:
        """The row of what the graph asks for."""
        return next(row for row in self.rows if row.configured)


@dataclass(frozen=True)
class Report:
    """A whole check.

    Attributes:
        graph: its name.
        start: where it was made, in words.
        precision: in which numbers.
        tol: what had to be reached.
        uppers: one check each.
    """

    graph: str
    start: str
    precision: str
    tol: float
    uppers: tuple[UpperReport, ...]

    @property
    def passed(self) -> bool:
        """Whether the graph's own methods agree everywhere."""
        return all(upper.passed for upper in self.uppers)


def is_known(number: float) -> bool:
    """Whether a number was measured."""
    return not isnan(number)
