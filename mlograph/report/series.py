"""What was measured, arranged by name over steps, and thinned for drawing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mlograph.loggers.protocol import Record

Point = tuple[int, float]


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
        return not self.broken and len({value for _, value in self.points}) == 1


def gather(records: Iterable[Record], kind: str) -> tuple[Series, ...]:
    """A series for every name in the records of a kind, in order of appearance."""
    found: dict[str, list[Point]] = {}
    for record in records:
        if record.kind == kind:
            for name, value in record.values.items():
                found.setdefault(name, []).append((record.step, float(value)))
    return tuple(
        Series(
            name,
            tuple(point for point in points if math.isfinite(point[1])),
            tuple(point for point in points if not math.isfinite(point[1])),
        )
        for name, points in found.items()
    )


def thin(points: tuple[Point, ...], most: int) -> tuple[Point, ...]:
    """At most about `most` of the points: first, last, and each stretch's least and greatest.

    A peak of a single step stays visible, which picking every k-th point would not promise.
    """
    if len(points) <= most:
        return points
    width = math.ceil(len(points) / max(1, most // 2))
    kept: set[int] = {0, len(points) - 1}
    for begin in range(0, len(points), width):
        stretch = range(begin, min(begin + width, len(points)))
        kept.add(min(stretch, key=lambda index: points[index][1]))
        kept.add(max(stretch, key=lambda index: points[index][1]))
    return tuple(points[index] for index in sorted(kept))
