"""Means and deviations of measured numbers: nan, infinite, or the largest that there are."""

from __future__ import annotations

import math
from collections.abc import Sequence

from mlograph.loggers.lines import short


def mean(values: Sequence[float], counts: Sequence[int] | None = None) -> float:
    """Σ nᵢxᵢ / Σ nᵢ, with nᵢ = 1 unless told; `values` is not empty.

    Numbers that are not finite make it so. A sum too large for a float does not: each number is
    divided before it is added.
    """
    counts = counts or [1] * len(values)
    total = sum(counts)
    parts = [value * (count / total) for value, count in zip(values, counts, strict=True)]
    if not all(map(math.isfinite, parts)):
        return sum(parts)  # fsum refuses the sum of both infinities
    # Kept between both ends: what is the same everywhere is its own mean.
    return min(max(math.fsum(parts), min(values)), max(values))


def deviation(values: Sequence[float]) -> float | None:
    """The sample standard deviation √(Σ(x − mean)² / (n − 1)); None for less than two numbers.

    It is nan where a number is not finite, and infinite where it is too large for a float.
    """
    if len(values) < 2:
        return None
    if not all(map(math.isfinite, values)):
        return math.nan
    middle = mean(values)
    # hypot squares nothing that could not be squared.
    return math.hypot(*(value - middle for value in values)) / math.sqrt(len(values) - 1)


def mean_and_deviation(values: Sequence[float]) -> str:
    """`0.84 ± 0.014`; one number is itself, and none is `–`.

    A deviation has two digits: of a few runs it is not known better.
    """
    if not values:
        return "–"
    spread = deviation(values)
    middle = short(mean(values))
    return middle if spread is None or math.isnan(spread) else f"{middle} ± {spread:.2g}"
