"""Where the ticks of an axis stand, and where a value lies on it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Axis:
    """Values from `low` to `high` laid out from `start` to `end`, in pixels.

    Attributes:
        ticks: values that are marked; all lie between `low` and `high`.
        log: whether equal ratios, not differences, are equally far apart.
    """

    low: float
    high: float
    start: float
    end: float
    ticks: tuple[float, ...]
    log: bool = False

    def at(self, value: float) -> float:
        """The pixel of a value."""
        low, high, value = (
            (math.log10(self.low), math.log10(self.high), math.log10(value))
            if self.log
            else (self.low, self.high, value)
        )
        # Halves, so that the whole range of floats can be an axis without an overflow.
        share = (value / 2 - low / 2) / (high / 2 - low / 2)
        return self.start + (self.end - self.start) * share


def linear(values: Sequence[float], start: float, end: float, count: int = 4) -> Axis:
    """An axis for `values` with about `count` round ticks."""
    low, high = _apart(min(values), max(values))
    return Axis(low, high, start, end, _round_ticks(low, high, count))


def logarithmic(values: Sequence[float], start: float, end: float, count: int = 4) -> Axis:
    """An axis for positive `values` that marks about `count` powers of ten."""
    low, high = min(values), max(values)
    first, last = math.ceil(math.log10(low)), math.floor(math.log10(high))
    stride = max(1, math.ceil((last - first + 1) / (count + 1)))
    ticks = tuple(10.0**power for power in range(first, last + 1, stride))
    return Axis(low, high, start, end, ticks, log=True)


def fitting(values: Sequence[float], start: float, end: float) -> Axis:
    """Logarithmic where positive values span more than three powers of ten, linear elsewhere."""
    low, high = min(values), max(values)
    spans = low > 1e-300 and math.log10(high) - math.log10(low) > 3
    return (logarithmic if spans else linear)(values, start, end)


def tick_text(value: float) -> str:
    """A tick as it is written: `2500`, `0.05`, `20k`, `1.5M`, `1e-06`."""
    for unit, letter in ((1e6, "M"), (1e3, "k")):
        if max(unit, 1e4) <= abs(value) < 1e9:
            return f"{value / unit:.6g}{letter}"
    return f"{value:.6g}" if abs(value) < 1e9 else f"{value:.3g}"


def _apart(low: float, high: float) -> tuple[float, float]:
    """The same bounds, or somewhat wider ones where they are too close to be told apart."""
    middle = max(abs(low), abs(high))
    if high / 2 - low / 2 > middle * 1e-9:
        return low, high
    margin = middle * 0.1 or 0.5
    return low - margin, high + margin


def _round_ticks(low: float, high: float, count: int) -> tuple[float, ...]:
    rough = (high / 2 - low / 2) / count * 2
    magnitude = 10.0 ** math.floor(math.log10(rough)) if rough > 1e-300 else rough
    step = next((magnitude * m for m in (1, 2, 5) if magnitude * m >= rough * 0.8), magnitude * 10)
    first, last = math.ceil(low / step), math.floor(high / step)
    # Rounded, so that three times 0.1 is marked as 0.3.
    return tuple(float(f"{index * step:.12g}") for index in range(first, last + 1))
