"""The truncated Neumann series."""

from __future__ import annotations

from math import inf, isfinite
from typing import Literal

import torch

from mlograph import trees
from mlograph.linear.system import Begun, MatVec, Solution, Status, at_unit_size, settled
from mlograph.trees import Vector


def neumann(
    matvec: MatVec,
    b: Vector,
    *,
    iterations: int,
    alpha: float | Literal["auto"],
    tol: float = 0.0,
    start: Vector | None = None,
) -> Solution:
    """α Σ_{k=0..K} (I − αA)^k b: K products and K+1 terms (Lorraine et al., 2020).

    Converges to A⁻¹ b where |1 − α·λ| < 1 for all eigenvalues. `auto` takes α = 1/λmax, with λmax
    from a power iteration of ten more products. From `start`, the series is that of b − A·start,
    which is one more product.

    A term is α times the residual of the sum before it: the series stops where one is not larger
    than tol·‖b‖, and the residual that is reported is the last one known, of the sum without its
    last term. The answer's own costs one more product. The series counts as diverged where it has
    grown beyond its first term and beyond b.
    """
    return at_unit_size(
        b, start, lambda b, start: _neumann(matvec, b, iterations, alpha, tol, start)
    )


def _neumann(
    matvec: MatVec,
    b: Vector,
    iterations: int,
    alpha: float | Literal["auto"],
    tol: float,
    start: Vector | None,
) -> Solution:
    extra = 0
    if alpha == "auto":
        largest, extra = largest_eigenvalue(matvec, b)
        alpha = 1.0 / largest if largest > 0.0 else 1.0
    begun = Begun.at(matvec, b, start)
    w, term, products = begun.w, begun.r, begun.products
    first = left = float(trees.norm(term))
    if not isfinite(left):
        return Solution(w, Status.NON_FINITE, products + extra, left)
    w, status = trees.axpy(alpha, term, w), Status.MAX_ITERATIONS
    for _ in range(iterations):
        if left <= tol:
            break
        term = trees.axpy(-alpha, matvec(term), term)
        products += 1
        length = float(trees.norm(term))
        if not isfinite(length):
            status = Status.NON_FINITE
            break
        w, left = trees.axpy(alpha, term, w), length
    if status is Status.MAX_ITERATIONS and left > max(first, 1.0) * _GROWN:
        status = Status.DIVERGED
    return Solution(w, settled(status, left, tol), products + extra, left)


# Rounding errors alone do not make a series diverge.
_GROWN = 1.0 + 1e-6


def largest_eigenvalue(matvec: MatVec, like: Vector, *, iterations: int = 10) -> tuple[float, int]:
    """λmax(|A|) by power iteration in the space of `like`, and the products it took.

    It begins at random numbers, always the same: a given vector may lie where λmax cannot be seen.

    The estimate grows towards λmax from below; it is raised by a tenth so that a Neumann series
    with α = 1/λmax does not diverge on what the iteration missed.
    """
    vector, largest = some_direction(like), 0.0
    for done in range(1, iterations + 1):
        vector = matvec(vector)
        largest = float(trees.norm(vector))
        if not 0.0 < largest < inf:
            return 0.0, done
        vector = trees.scale(1.0 / largest, vector)
    return 1.1 * largest, iterations


def some_direction(like: Vector) -> Vector:
    """A unit vector of no meaning."""
    generator = torch.Generator().manual_seed(0)
    vector = {
        name: torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)
        for name, x in like.items()
    }
    return trees.scale(1.0 / float(trees.norm(vector)), vector)
