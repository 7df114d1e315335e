"""Gradient descent on a linear system."""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite

from mlograph import trees
from mlograph.linear.system import MatVec, Solution, Status, at_unit_size
from mlograph.trees import Vector


def richardson(
    matvec: MatVec,
    b: Vector,
    *,
    steps: int,
    rates: Mapping[str, float],
    start: Vector | None = None,
    tol: float = 0.0,
) -> Solution:
    """`steps` of w ← w − rate·(A w − b) from `start` or zero; every parameter has its own rate.

    From zero, K steps are K terms of the Neumann series with α = rate. Converges where
    |1 − rate·λ| < 1 for all eigenvalues. One product a step; the first step from zero needs none.

    The residual is the last one known, of the iterate before the last step. Stops where it is
    ≤ tol·‖b‖. It counts as diverged where it has grown beyond the first and beyond b, or beyond a
    thousand times b: with a single step from `start` there is none to compare it with.
    """
    return at_unit_size(b, start, lambda b, start: _richardson(matvec, b, steps, rates, start, tol))


def _richardson(
    matvec: MatVec,
    b: Vector,
    steps: int,
    rates: Mapping[str, float],
    start: Vector | None,
    tol: float,
) -> Solution:
    products, status = 0, Status.MAX_ITERATIONS
    w = trees.zeros_like(b) if start is None else dict(start)
    r, first, left = dict(b), 1.0, 1.0
    for step in range(steps):
        if step or start is not None:
            r = trees.axpy(-1.0, matvec(w), b)
            products += 1
            length = float(trees.norm(r))
            if not isfinite(length):
                status = Status.NON_FINITE
                break
            first, left = first if step else length, length
        if left <= tol:
            status = Status.CONVERGED
            break
        w = {name: x + rates[name] * r[name] for name, x in w.items()}
    grown = left > max(first, 1.0) * _GROWN or left > _FAR
    if status is Status.MAX_ITERATIONS and grown:
        status = Status.DIVERGED
    return Solution(w, status, products, left)


# Rounding errors alone do not make an iteration diverge.
_GROWN = 1.0 + 1e-6
_FAR = 1e3
