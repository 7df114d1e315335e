"""What was learned, in a form that can be drawn: plain data, kept as JSON beside a run.

A run writes `learned.json`, a list of these, when it ends; `mlograph report` draws them without the
modules that they came from. A module whose parameters look like nothing on their own gives pictures
of itself, by a method `pictures()`.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Literal, Protocol, runtime_checkable

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, TypeAdapter, ValidationError

# A row of more numbers than this is drawn by how they are spread.
MOST_BARS = 240
_MOST_BINS = 40
_MOST_GROUPS = 8


class _Picture(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str


class Bars(_Picture):
    """A row of numbers, one bar each.

    Attributes:
        values: the numbers.
        labels: as many names, or none: then they are counted from zero.
    """

    kind: Literal["bars"] = "bars"
    values: tuple[float, ...] = Field(min_length=1)
    labels: tuple[str, ...] = ()


class Spread(_Picture):
    """How many numbers of each group lie where: histograms over the same bins.

    Attributes:
        edges: of the bins, one more than there are bins.
        counts: by group, one number a bin.
        unit: what is counted along.
    """

    kind: Literal["spread"] = "spread"
    edges: tuple[FiniteFloat, ...] = Field(min_length=2)
    counts: dict[str, tuple[int, ...]]
    unit: str = "value"

    @classmethod
    def of(cls, title: str, groups: Mapping[str, Sequence[float]], unit: str = "value") -> Spread:
        """Counted from the numbers themselves; those that are not finite are left out."""
        first = dict(list(groups.items())[:_MOST_GROUPS])
        finite = {name: [v for v in values if math.isfinite(v)] for name, values in first.items()}
        everything = [value for values in finite.values() for value in values] or [0.0]
        low, high = min(everything), max(everything)
        if high / 2 - low / 2 <= 1e-9 * max(abs(low), abs(high)):
            # Numbers that are the same get bins around them.
            margin = max(abs(low), abs(high)) * 0.1 or 0.5
            low, high = low - margin, high + margin
        bins = max(5, min(_MOST_BINS, round(2 * len(everything) ** (1 / 3))))
        # Shares of both ends, since the difference of finite numbers may be infinite.
        edges = tuple(low * (1 - i / bins) + high * (i / bins) for i in range(bins + 1))
        counts = {name: _counted(values, edges) for name, values in finite.items()}
        return cls(title=title, edges=edges, counts=counts, unit=unit)


class Lines(_Picture):
    """Functions of one number.

    Attributes:
        lines: by name, points (x, y) in order of x.
        across: what x is.
    """

    kind: Literal["lines"] = "lines"
    lines: dict[str, tuple[tuple[float, float], ...]]
    across: str = ""


class Grid(_Picture):
    """A small matrix, one coloured cell each.

    Attributes:
        values: rows of equal length.
        rows: names of the rows, or none.
        columns: names of the columns, or none.
    """

    kind: Literal["grid"] = "grid"
    values: tuple[tuple[float, ...], ...] = Field(min_length=1)
    rows: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()


class Images(_Picture):
    """Pixels.

    Attributes:
        images: PNG files in base64.
        captions: as many texts, or none.
    """

    kind: Literal["images"] = "images"
    images: tuple[str, ...] = Field(min_length=1)
    captions: tuple[str, ...] = ()


Picture = Bars | Spread | Lines | Grid | Images

_PICTURES: TypeAdapter[tuple[Picture, ...]] = TypeAdapter(
    tuple[Annotated[Picture, Field(discriminator="kind")], ...],
    config=ConfigDict(ser_json_inf_nan="strings"),
)


@runtime_checkable
class Pictured(Protocol):
    """A module that knows how what it learned is drawn."""

    def pictures(self) -> Sequence[Picture]:
        """What to draw when a run has ended; called without gradients, in evaluation mode."""
        ...


def dumped(pictures: Iterable[Picture]) -> str:
    """The pictures as JSON."""
    return _PICTURES.dump_json(tuple(pictures)).decode()


def parsed(text: str | bytes) -> tuple[Picture, ...]:
    """The pictures that `dumped` was given.

    Raises:
        ValueError: the text is something else.
    """
    try:
        return _PICTURES.validate_json(text)
    except ValidationError as error:
        raise ValueError(
            f"holds something else than pictures: {error.errors()[0]['msg']}"
        ) from error


def _counted(values: Sequence[float], edges: Sequence[float]) -> tuple[int, ...]:
    counts = [0] * (len(edges) - 1)
    for value in values:
        counts[min(max(bisect_right(edges, value) - 1, 0), len(counts) - 1)] += 1
    return tuple(counts)
