"""Derivatives of a function of one number by finite differences, and how far they may be off."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf, isfinite

import torch

from mlograph import trees
from mlograph.trees import Vector

Line = Callable[[float], float]

# The first of three steps, each half of the one before, for parameters of length one; and shorter
# ones for functions with kinks, since a shorter way meets fewer.
FIRSTS = (4e-3, 4e-5, 4e-7)
_LEVELS = 3

# Steps shorter than so many units of rounding see noise only.
_ROUNDING = 1e9


@dataclass(frozen=True)
class Slope:
    """dF/dt at zero.

    Attributes:
        value: of it.
        doubt: how far it may be off.
        first: the longest step behind it.
        jumps: F moves along the way, but not by short steps: it goes in jumps.
    """

    value: float
    doubt: float
    first: float = 0.0
    jumps: bool = False


def slope(
    line: Line,
    size: float,
    step: float | None = None,
    *,
    firsts: Sequence[float] = FIRSTS,
    enough: float = 1e-3,
) -> Slope:
    """dF/dt at t = 0 of F(t) = `line`(t) by central differences.

    Without a step, three of them, each half of the one before, are extrapolated to zero
    (Richardson, 1911): an error of order step⁶ where F is smooth. The doubt is how far the
    extrapolations of order step⁴ are from it, so rather too large; where F has kinks or noise, it
    shows. Then shorter steps are tried, and the surest answer counts. With a step, the difference
    is taken as it is, and the doubt is how far that of half the step lies.

    Args:
        line: F along a unit direction.
        size: ‖u‖, the length of what moves.
        step: of the differences.
        firsts: first steps to try, in this order.
        enough: with a doubt below this share of the slope no other step is tried.
    """
    if step is not None:
        whole, half = _central(line, step), _central(line, step / 2)
        return Slope(whole, abs(whole - half), step)
    scale = min(1.0, max(size, 0.01)) if size else 1.0
    found: list[Slope] = []
    for first in firsts:
        value, doubt = _extrapolated(line, first * scale)
        found.append(Slope(value, doubt, first))
        if doubt <= enough * abs(value):
            break
    if found[-1].value == found[-1].doubt == 0.0 != found[0].value:
        return replace(found[0], jumps=True)
    return min(found, key=lambda one: one.doubt if isfinite(one.doubt) else inf)


def first_steps(eps: float) -> tuple[float, ...]:
    """Those of `FIRSTS` that make sense in numbers of this rounding."""
    return FIRSTS[:1] + tuple(first for first in FIRSTS[1:] if first >= _ROUNDING * eps)


def _extrapolated(line: Line, first: float) -> tuple[float, float]:
    """A slope and its doubt."""
    row = [_central(line, first)]
    for level in range(1, _LEVELS):
        above, row = row, [_central(line, first / 2**level)]
        for order in range(1, level + 1):
            weight = 4.0**order
            row.append((weight * row[order - 1] - above[order - 1]) / (weight - 1.0))
    # Not the entry that seems best, as Ridders has it: noise agrees with itself now and then.
    doubt = max(abs(row[-1] - row[-2]), abs(row[-1] - above[-1]))
    return row[-1], doubt


def _central(line: Line, step: float) -> float:
    ahead, behind = line(step), line(-step)
    if not (isfinite(ahead) and isfinite(behind)):
        return float("nan")
    return (ahead - behind) / (2.0 * step)


def directions(like: Vector, count: int, seed: int) -> list[Vector]:
    """Random unit vectors in the space of `like`; torch's own random numbers stay as they are."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for _ in range(count):
        vector = {
            name: torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
            for name, x in like.items()
        }
        found.append(trees.scale(1.0 / float(trees.norm(vector)), vector))
    return found
