"""What was measured, arranged by name over steps, and condensed for drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from operator import itemgetter

from mlograph.averages import mean
from mlograph.loggers.protocol import Record

Point = tuple[int, float]
MOST_STRETCHES = 120


@dataclass(frozen=True)
class Series:
    """The values of one name.

    Attributes:
        name: as it was logged.
        points: steps and finite values, in order.
        broken: steps and values that are not finite.
    """

    name: str
    points: tuple[Point, ...]
    broken: tuple[Point, ...] = ()

    @property
    def is_constant(self) -> bool:
        """Whether there is one value only, so that a curve would show nothing."""
        return not self.broken and bool(self.points) and self.low[1] == self.high[1]

    @cached_property
    def low(self) -> Point:
        """The first of the points with the least value."""
        return min(self.points, key=itemgetter(1))

    @cached_property
    def high(self) -> Point:
        """The first of the points with the greatest value."""
        return max(self.points, key=itemgetter(1))

    @cached_property
    def stretches(self) -> tuple[Stretch, ...]:
        """The points, condensed as far as a chart can show."""
        return condense(self.points, MOST_STRETCHES)


@dataclass(frozen=True)
class Stretch:
    """Neighbouring points, drawn as one.

    Attributes:
        first: step of the first of them.
        last: step of the last of them.
        mean: of their values.
        low: the least value.
        high: the greatest value.
        count: how many they are.
    """

    first: int
    last: int
    mean: float
    low: float
    high: float
    count: int = 1

    @property
    def step(self) -> float:
        """Where it is drawn: at the middle."""
        return (self.first + self.last) / 2


def gather(records: Iterable[Record], kind: str) -> tuple[Series, ...]:
    """A series for every name in the records of a kind, in order of appearance."""
    found: dict[str, list[Point]] = {}
    for record in records:
        if record.kind == kind:
            for name, value in record.values.items():
                found.setdefault(name, []).append((record.step, float(value)))
    return tuple(_series(name, points) for name, points in found.items())


def _series(name: str, points: list[Point]) -> Series:
    if all(map(math.isfinite, map(itemgetter(1), points))):
        return Series(name, tuple(points))
    finite = tuple(point for point in points if math.isfinite(point[1]))
    return Series(name, finite, tuple(point for point in points if not math.isfinite(point[1])))


def condense(points: tuple[Point, ...], most: int) -> tuple[Stretch, ...]:
    """At most `most` stretches of about equally many points, which together hold every point.

    A peak of a single step stays visible as the high of its stretch, which picking every k-th
    point would not promise.
    """
    count = min(len(points), most)
    edges = [len(points) * index // count for index in range(count + 1)] if count else []
    return tuple(_stretch(points[begin:end]) for begin, end in pairwise(edges))


def joined(stretches: tuple[Stretch, ...], most: int) -> tuple[Stretch, ...]:
    """At most `most` stretches in place of more of them."""
    if len(stretches) <= most:
        return stretches
    edges = [len(stretches) * index // most for index in range(most + 1)]
    parts = (stretches[begin:end] for begin, end in pairwise(edges))
    return tuple(
        Stretch(
            part[0].first,
            part[-1].last,
            mean([one.mean for one in part], [one.count for one in part]),
            min(one.low for one in part),
            max(one.high for one in part),
            sum(one.count for one in part),
        )
        for part in parts
    )


def _stretch(points: tuple[Point, ...]) -> Stretch:
    values = [value for _, value in points]
    low, high = min(values), max(values)
    return Stretch(points[0][0], points[-1][0], mean(values), low, high, len(values))
