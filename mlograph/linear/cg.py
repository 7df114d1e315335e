"""Conjugate gradients."""

from __future__ import annotations

from math import inf, isfinite

from mlograph import trees
from mlograph.linear.preconditioners import NONE, Preconditioner
from mlograph.linear.system import (
    Begun,
    MatVec,
    Solution,
    Status,
    at_unit_size,
    ended,
    rounding,
    settled,
    status_of,
)
from mlograph.trees import Vector


def cg(
    matvec: MatVec,
    b: Vector,
    *,
    iterations: int,
    tol: float,
    start: Vector | None = None,
    precondition: Preconditioner = NONE,
) -> Solution:
    """Conjugate gradients (Hestenes and Stiefel, 1952) for a symmetric positive definite A.

    The last iterate is returned, with its recursive residual. On a direction of negative or zero
    curvature the last good iterate is returned. Steihaug (1983) would follow that direction to
    the border of a trust region, but a hypergradient has none: any length along it is as good as
    any other. At the first product this leaves `start`, or zero. A non-finite product likewise
    ends at the last good iterate. Stops at ‖residual‖ ≤ tol·‖b‖. From zero, one product an
    iteration; from `start`, one more; and those of the preconditioner. The device is waited for
    twice an iteration.
    """
    return at_unit_size(
        b, start, lambda b, start: _cg(matvec, b, iterations, tol, start, precondition)
    )


def _cg(
    matvec: MatVec,
    b: Vector,
    iterations: int,
    tol: float,
    start: Vector | None,
    precondition: Preconditioner,
) -> Solution:
    begun = Begun.at(matvec, b, start)
    w, r, products = begun.w, begun.r, begun.products + precondition.products
    p = z = precondition.apply(r)
    left, slope = trees.numbers(trees.norm(r), trees.dot(r, z))
    status, largest = status_of(left), 0.0
    for _ in range(iterations):
        if status is not Status.MAX_ITERATIONS or left <= tol:
            break
        if not 0.0 < slope < inf:
            status = Status.BREAKDOWN if isfinite(slope) else Status.NON_FINITE
            break
        q = matvec(p)
        products += 1
        curvature, length = trees.numbers(trees.dot(p, q), trees.norm(p))
        largest = max(largest, curvature / length / length)
        if not rounding(b) * largest * length * length < curvature < inf:
            status = _what_is_wrong(p, q, largest)
            break
        step = slope / curvature
        w, r = trees.axpy(step, p, w), trees.axpy(-step, q, r)
        z, previous = precondition.apply(r), slope
        left, slope = trees.numbers(trees.norm(r), trees.dot(r, z))
        p = trees.axpy(slope / previous, p, z)
    return ended(w, settled(status, left, tol), products, left, largest * float(trees.norm(w)))


def _what_is_wrong(p: Vector, q: Vector, largest: float) -> Status:
    """With q = A p, where ⟨p, q⟩ is not positive; `largest`: of all ⟨p, A p⟩/⟨p, p⟩ so far."""
    length = float(trees.norm(q))
    if not isfinite(length):
        return Status.NON_FINITE
    # A positive A has ⟨p, A p⟩ = 0 only where A p = 0.
    if length <= rounding(p) * largest * float(trees.norm(p)):
        return Status.SINGULAR
    return Status.NEGATIVE_CURVATURE
