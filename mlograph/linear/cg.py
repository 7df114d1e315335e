"""Conjugate gradients."""

from __future__ import annotations

from math import inf, isfinite

from mlograph import trees
from mlograph.linear.preconditioners import NONE, Preconditioner
from mlograph.linear.system import (
    MatVec,
    Solution,
    Status,
    at_unit_size,
    begin,
    ended,
    rounding,
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
    iteration; from `start`, one more; and those of the preconditioner.
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
    w, r, products = begin(matvec, b, start)
    products += precondition.products
    left = float(trees.norm(r))
    status = Status.MAX_ITERATIONS if isfinite(left) else Status.NON_FINITE
    z = precondition.apply(r)
    p, slope, largest = z, float(trees.dot(r, z)), 0.0
    for _ in range(iterations):
        if status is not Status.MAX_ITERATIONS or left <= tol:
            break
        if not 0.0 < slope < inf:
            status = Status.BREAKDOWN if isfinite(slope) else Status.NON_FINITE
            break
        q = matvec(p)
        products += 1
        curvature, length = float(trees.dot(p, q)), float(trees.norm(p))
        largest = max(largest, curvature / length / length)
        if not rounding(b) * largest * length * length < curvature < inf:
            status = _what_is_wrong(p, q, largest)
            break
        step = slope / curvature
        w, r = trees.axpy(step, p, w), trees.axpy(-step, q, r)
        left = float(trees.norm(r))
        z = precondition.apply(r)
        slope, previous = float(trees.dot(r, z)), slope
        p = trees.axpy(slope / previous, p, z)
    if status is Status.MAX_ITERATIONS and left <= tol:
        status = Status.CONVERGED
    return ended(w, status, products, left, largest * float(trees.norm(w)))


def _what_is_wrong(p: Vector, q: Vector, largest: float) -> Status:
    """With q = A p, where ⟨p, q⟩ is not positive; `largest`: of all ⟨p, A p⟩/⟨p, p⟩ so far."""
    length = float(trees.norm(q))
    if not isfinite(length):
        return Status.NON_FINITE
    # A positive A has ⟨p, A p⟩ = 0 only where A p = 0.
    if length <= rounding(p) * largest * float(trees.norm(p)):
        return Status.SINGULAR
    return Status.NEGATIVE_CURVATURE
