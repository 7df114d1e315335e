"""Approximate solutions of A w = b, where A is known only by its products.

Every solver is a pure function of `matvec` and `b` and says how it ended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from math import inf, isfinite
from typing import Literal

import torch
from torch import Tensor

from mlograph import trees
from mlograph.trees import Vector

MatVec = Callable[[Vector], Vector]


@dataclass(frozen=True)
class System:
    """A matrix A, known by its products.

    Attributes:
        product: x ↦ A x.
        adjoint: x ↦ Aᵀ x.
    """

    product: MatVec
    adjoint: MatVec

    @property
    def transposed(self) -> System:
        """Aᵀ."""
        return System(self.adjoint, self.product)

    def damped(self, damping: float) -> System:
        """A + damping·I."""
        if not damping:
            return self
        return System(_damped(self.product, damping), _damped(self.adjoint, damping))


def _damped(product: MatVec, damping: float) -> MatVec:
    return lambda vector: trees.axpy(damping, vector, product(vector))


class Status(StrEnum):
    """How a linear solve ended."""

    CONVERGED = "converged"
    MAX_ITERATIONS = "max iterations"
    NEGATIVE_CURVATURE = "negative curvature"
    SINGULAR = "singular"
    NON_FINITE = "non-finite"


@dataclass(frozen=True)
class Solution:
    """An approximate solution of A w = b.

    Attributes:
        value: w.
        status: how the solver ended.
        iterations: products with A that were taken.
        residual: ‖b − A w‖ / ‖b‖ where the solver knows it, else NaN; 0 for b = 0.
    """

    value: Vector
    status: Status
    iterations: int
    residual: float


def cg(
    matvec: MatVec,
    b: Vector,
    *,
    iterations: int,
    tol: float,
    start: Mapping[str, Tensor] | None = None,
) -> Solution:
    """Conjugate gradients (Hestenes and Stiefel, 1952) for a symmetric positive definite A.

    The last iterate is returned, with its recursive residual. On a direction of negative or zero
    curvature the last good iterate is returned (Steihaug, 1983); a non-finite product likewise.
    Stops at ‖residual‖ ≤ tol·‖b‖. From zero, one product an iteration; from `start`, one more.
    """
    size = float(trees.norm(b))
    if size == 0.0:
        return Solution(trees.zeros_like(b), Status.CONVERGED, 0, 0.0)
    products = 0
    if start is None:
        w, r = trees.zeros_like(b), dict(b)
    else:
        w, r, products = dict(start), trees.axpy(-1.0, matvec(dict(start)), b), 1
    p, rr = r, float(trees.dot(r, r))
    status = Status.MAX_ITERATIONS
    for _ in range(iterations):
        if rr**0.5 <= tol * size:
            status = Status.CONVERGED
            break
        q = matvec(p)
        products += 1
        curvature = float(trees.dot(p, q))
        if not 0.0 < curvature < inf:
            finite = isfinite(curvature)
            status = Status.NEGATIVE_CURVATURE if finite else Status.NON_FINITE
            break
        step = rr / curvature
        w, r = trees.axpy(step, p, w), trees.axpy(-step, q, r)
        rr, previous = float(trees.dot(r, r)), rr
        p = trees.axpy(rr / previous, p, r)
    if status is Status.MAX_ITERATIONS and rr**0.5 <= tol * size:
        status = Status.CONVERGED
    return Solution(w, status, products, rr**0.5 / size)


def neumann(
    matvec: MatVec, b: Vector, *, iterations: int, alpha: float | Literal["auto"]
) -> Solution:
    """α Σ_{k=0..K} (I − αA)^k b: K products and K+1 terms (Lorraine et al., 2020).

    Converges to A⁻¹ b where 0 < α·λ < 2 for all eigenvalues. `auto` takes α = 1/λmax, with λmax
    from a power iteration of ten more products. The residual follows from the last term:
    b − A w = (I − αA)^{K+1} b costs one more product, so it is not known here (NaN).
    """
    if float(trees.norm(b)) == 0.0:
        return Solution(trees.zeros_like(b), Status.CONVERGED, 0, 0.0)
    extra = 0
    if alpha == "auto":
        largest, extra = largest_eigenvalue(matvec, b)
        alpha = 1.0 / largest if largest > 0.0 else 1.0
    term, total = dict(b), dict(b)
    for _ in range(iterations):
        term = trees.axpy(-alpha, matvec(term), term)
        total = trees.add(total, term)
    finite = trees.first_non_finite(total) is None
    status = Status.MAX_ITERATIONS if finite else Status.NON_FINITE
    return Solution(trees.scale(alpha, total), status, iterations + extra, float("nan"))


def largest_eigenvalue(matvec: MatVec, like: Vector, *, iterations: int = 10) -> tuple[float, int]:
    """λmax(|A|) by power iteration in the space of `like`, and the products it took.

    It begins at random numbers, always the same: a given vector may lie where λmax cannot be seen.

    The estimate grows towards λmax from below; it is raised by a tenth so that a Neumann series
    with α = 1/λmax does not diverge on what the iteration missed.
    """
    vector, largest = _some_direction(like), 0.0
    for done in range(1, iterations + 1):
        vector = matvec(vector)
        largest = float(trees.norm(vector))
        if not 0.0 < largest < inf:
            return 0.0, done
        vector = trees.scale(1.0 / largest, vector)
    return 1.1 * largest, iterations


def _some_direction(like: Vector) -> Vector:
    """A unit vector of no meaning."""
    generator = torch.Generator().manual_seed(0)
    vector = {
        name: torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)
        for name, x in like.items()
    }
    return trees.scale(1.0 / float(trees.norm(vector)), vector)


def dense(matvec: MatVec, b: Vector) -> Solution:
    """A⁻¹ b with A written out: n products, O(n²) memory, O(n³) time.

    A singular A gives the least-squares solution of least norm, and says so.
    """
    flat = trees.flatten(b)
    if float(flat.norm()) == 0.0:
        return Solution(trees.zeros_like(b), Status.CONVERGED, 0, 0.0)
    basis = torch.eye(flat.numel(), dtype=flat.dtype, device=flat.device)
    rows = [trees.flatten(matvec(trees.unflatten(unit, b))) for unit in basis]
    matrix = torch.stack(rows, dim=1)
    if not bool(matrix.isfinite().all() and flat.isfinite().all()):
        return Solution(trees.zeros_like(b), Status.NON_FINITE, len(rows), float("nan"))
    solved, info = torch.linalg.solve_ex(matrix, flat)
    status = Status.CONVERGED
    if int(info) != 0 or not bool(solved.isfinite().all()):
        solved, status = torch.linalg.pinv(matrix) @ flat, Status.SINGULAR
    residual = float((flat - matrix @ solved).norm() / flat.norm())
    return Solution(trees.unflatten(solved, b), status, len(rows), residual)
