"""Stabilised biconjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
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


def bicgstab(
    matvec: MatVec,
    b: Vector,
    *,
    iterations: int,
    tol: float,
    start: Vector | None = None,
    precondition: Preconditioner = NONE,
) -> Solution:
    """BiCGSTAB (van der Vorst, 1992) for any A, with a preconditioner on the right.

    Short recurrences instead of GMRES's memory. The residual does not fall steadily, so the best
    iterate is returned, with its recursive residual. It breaks down where one of its divisors
    vanishes, as it does at once on a skew-symmetric A. Stops at ‖residual‖ ≤ tol·‖b‖. Two products
    an iteration; from `start`, one more.
    """
    return at_unit_size(
        b, start, lambda b, start: _bicgstab(matvec, b, iterations, tol, start, precondition)
    )


def _bicgstab(
    matvec: MatVec,
    b: Vector,
    iterations: int,
    tol: float,
    start: Vector | None,
    precondition: Preconditioner,
) -> Solution:
    w, r, products = begin(matvec, b, start)
    products += precondition.products
    left, zero = float(trees.norm(r)), trees.zeros_like(b)
    status = Status.MAX_ITERATIONS if isfinite(left) else Status.NON_FINITE
    state, best, least = _State(w, r, zero, zero), w, left
    for _ in range(iterations):
        if status is not Status.MAX_ITERATIONS or least <= tol:
            break
        state, taken, status = _step(matvec, precondition, state, r, tol)
        products += taken
        left = float(trees.norm(state.r))
        if left < least:
            best, least = state.w, left
    if least <= tol:
        status = Status.CONVERGED
    return ended(best, status, products, least, state.size * float(trees.norm(best)))


@dataclass(frozen=True)
class _State:
    """w, b − A w, and p, A M⁻¹ p, the scalars of the last iteration, and how far A stretches."""

    w: Vector
    r: Vector
    p: Vector
    v: Vector
    rho: float = 1.0
    alpha: float = 1.0
    omega: float = 1.0
    size: float = 0.0


def _step(
    matvec: MatVec, precondition: Preconditioner, last: _State, shadow: Vector, enough: float
) -> tuple[_State, int, Status]:
    """One iteration: where it leads, the products it took, and what is wrong, if anything is."""
    rho = float(trees.dot(shadow, last.r))
    if _vanishes(rho, shadow, last.r):
        return last, 0, Status.BREAKDOWN
    beta = rho / last.rho * last.alpha / last.omega
    p = trees.axpy(beta, trees.axpy(-last.omega, last.v, last.p), last.r)
    y = precondition.apply(p)
    v = matvec(y)
    slope = float(trees.dot(shadow, v))
    if _vanishes(slope, shadow, v):
        return last, 1, _why(v)
    alpha = rho / slope
    w, r = trees.axpy(alpha, y, last.w), trees.axpy(-alpha, v, last.r)
    size = max(last.size, float(trees.norm(v)) / float(trees.norm(y)))
    half = _State(w, r, p, v, rho, alpha, size=size)
    if float(trees.norm(half.r)) <= enough:
        return half, 1, Status.CONVERGED
    z = precondition.apply(half.r)
    t = matvec(z)
    share = float(trees.dot(t, half.r))
    if _vanishes(share, t, half.r):
        return half, 2, _why(t)
    length = float(trees.norm(t))
    omega = share / length / length
    w, r = trees.axpy(omega, z, half.w), trees.axpy(-omega, t, half.r)
    return _State(w, r, p, v, rho, alpha, omega, size), 2, Status.MAX_ITERATIONS


def _vanishes(product: float, left: Vector, right: Vector) -> bool:
    """Whether an inner product is zero up to rounding errors, or not a number."""
    sizes = float(trees.norm(left)) * float(trees.norm(right))
    return not rounding(left) * sizes < abs(product) < inf


def _why(product: Vector) -> Status:
    """With what status a product ends it whose inner product vanishes."""
    size = float(trees.norm(product))
    if not isfinite(size):
        return Status.NON_FINITE
    return Status.BREAKDOWN if size else Status.SINGULAR
