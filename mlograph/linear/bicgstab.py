"""Stabilised biconjugate gradients."""

from __future__ import annotations

from dataclasses import dataclass
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
    status_of,
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
    begun = Begun.at(matvec, b, start)
    w, r, products = begun.w, begun.r, begun.products + precondition.products
    left, zero = float(trees.norm(r)), trees.zeros_like(b)
    status = status_of(left)
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
    rho, whole, rest = trees.numbers(
        trees.dot(shadow, last.r), trees.norm(shadow), trees.norm(last.r)
    )
    if _vanishes(rho, whole, rest, shadow):
        return last, 0, Status.BREAKDOWN
    beta = rho / last.rho * last.alpha / last.omega
    p = trees.axpy(beta, trees.axpy(-last.omega, last.v, last.p), last.r)
    y = precondition.apply(p)
    v = matvec(y)
    slope, length, width = trees.numbers(trees.dot(shadow, v), trees.norm(v), trees.norm(y))
    if _vanishes(slope, whole, length, shadow):
        return last, 1, _why(length)
    alpha = rho / slope
    w, r = trees.axpy(alpha, y, last.w), trees.axpy(-alpha, v, last.r)
    size = max(last.size, length / width)
    half = _State(w, r, p, v, rho, alpha, size=size)
    left = float(trees.norm(half.r))
    if left <= enough:
        return half, 1, Status.CONVERGED
    z = precondition.apply(half.r)
    t = matvec(z)
    share, length = trees.numbers(trees.dot(t, half.r), trees.norm(t))
    if _vanishes(share, length, left, t):
        return half, 2, _why(length)
    omega = share / length / length
    w, r = trees.axpy(omega, z, half.w), trees.axpy(-omega, t, half.r)
    return _State(w, r, p, v, rho, alpha, omega, size), 2, Status.MAX_ITERATIONS


def _vanishes(product: float, left: float, right: float, like: Vector) -> bool:
    """Whether an inner product of vectors of two lengths is zero up to rounding, or no number."""
    return not rounding(like) * (left * right) < abs(product) < inf


def _why(size: float) -> Status:
    """With what status a product of a length ends it whose inner product vanishes."""
    if not isfinite(size):
        return Status.NON_FINITE
    return Status.BREAKDOWN if size else Status.SINGULAR
