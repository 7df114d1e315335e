"""Conjugate gradients on the normal equations."""

from __future__ import annotations

from math import inf

from mlograph import trees
from mlograph.linear.system import (
    Begun,
    Solution,
    Status,
    System,
    at_unit_size,
    ended,
    rounding,
    settled,
    status_of,
)
from mlograph.trees import Vector


def normal_cg(
    system: System, b: Vector, *, iterations: int, tol: float, start: Vector | None = None
) -> Solution:
    """Conjugate gradients on Aᵀ A w = Aᵀ b, for any A: CGLS (Hestenes and Stiefel, 1952).

    K iterations give the smallest ‖b − A w‖ in span{Aᵀb, (AᵀA)Aᵀb, …}: the residual falls with
    every one of them, but they see the condition of A squared. Where b is not in the range of A
    they end at the least-squares solution, as singular. Stops at ‖residual‖ ≤ tol·‖b‖. A product
    with Aᵀ and one with A an iteration; from `start`, one more.
    """
    return at_unit_size(b, start, lambda b, start: _cgls(system, b, iterations, tol, start))


def _cgls(system: System, b: Vector, iterations: int, tol: float, start: Vector | None) -> Solution:
    begun = Begun.at(system.product, b, start)
    w, r, products = begun.w, begun.r, begun.products
    left = float(trees.norm(r))
    status = status_of(left)
    p, slope, largest = trees.zeros_like(b), 1.0, 0.0
    for _ in range(iterations):
        if status is not Status.MAX_ITERATIONS or left <= tol:
            break
        s = system.adjoint(r)
        previous, slope = slope, float(trees.norm(s))
        # The slope is that of ‖r‖: where it is gone and r is not, no w is better.
        if slope <= rounding(b) * largest * left:
            products, status = products + 1, Status.SINGULAR
            break
        growth = slope / previous
        p = trees.axpy(growth * growth, p, s)
        q = system.product(p)
        products += 2
        stretch, length = trees.numbers(trees.norm(q), trees.norm(p))
        if not 0.0 < stretch < inf:
            status = Status.SINGULAR if stretch == 0.0 else Status.NON_FINITE
            break
        largest = max(largest, stretch / length)
        step = (slope / stretch) * (slope / stretch)
        w, r = trees.axpy(step, p, w), trees.axpy(-step, q, r)
        left = float(trees.norm(r))
    return ended(w, settled(status, left, tol), products, left, largest * float(trees.norm(w)))
