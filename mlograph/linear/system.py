"""What is solved, A w = b with A known by its products, and how a solve ended."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from math import isfinite, nan

import torch

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
    """How a linear solve ended.

    Attributes:
        CONVERGED: within its tolerance, or as near as rounding errors let it come.
        MAX_ITERATIONS: all products that it may take were taken.
        BREAKDOWN: its recurrence divides by zero, or stands still.
        NEGATIVE_CURVATURE: ⟨p, A p⟩ ≤ 0 where A should be positive definite.
        SINGULAR: b is not in the range of A, as far as its type can tell.
        DIVERGED: the error grows with every iteration.
        NON_FINITE: b, a product or the answer is not finite.
    """

    CONVERGED = "converged"
    MAX_ITERATIONS = "max iterations"
    BREAKDOWN = "breakdown"
    NEGATIVE_CURVATURE = "negative curvature"
    SINGULAR = "singular"
    DIVERGED = "diverged"
    NON_FINITE = "non-finite"


@dataclass(frozen=True)
class Solution:
    """An approximate solution of A w = b.

    Attributes:
        value: w; always finite.
        status: how the solver ended.
        iterations: products with A (or Aᵀ) that were taken.
        residual: ‖b − A w‖ / ‖b‖ where the solver knows it, else NaN; 0 for b = 0.
    """

    value: Vector
    status: Status
    iterations: int
    residual: float


def at_unit_size(
    b: Vector, start: Vector | None, solve: Callable[[Vector, Vector | None], Solution]
) -> Solution:
    """The solution by `solve`, which gets b at length one, so that no square of it underflows.

    Where b is zero or not finite, the answer is zero and needs no product.
    """
    size = trees.length(b)
    if size == 0.0:
        return Solution(trees.zeros_like(b), Status.CONVERGED, 0, 0.0)
    if not isfinite(size):
        return Solution(trees.zeros_like(b), Status.NON_FINITE, 0, nan)
    found = solve(trees.over(size, b), None if start is None else trees.over(size, start))
    value = trees.scale(size, found.value)
    if trees.first_non_finite(value) is not None:
        return Solution(trees.zeros_like(b), Status.NON_FINITE, found.iterations, nan)
    return replace(found, value=value)


@dataclass(frozen=True)
class Begun:
    """Where an iteration starts.

    Attributes:
        w: the first iterate.
        r: b − A w.
        products: that this took.
    """

    w: Vector
    r: Vector
    products: int

    @classmethod
    def at(cls, matvec: MatVec, b: Vector, start: Vector | None) -> Begun:
        """From `start`, or from zero, for which b is the residual."""
        if start is None:
            return cls(trees.zeros_like(b), dict(b), 0)
        return cls(dict(start), trees.axpy(-1.0, matvec(dict(start)), b), 1)


def status_of(left: float) -> Status:
    """Of an iteration that begins with the residual `left`."""
    return Status.MAX_ITERATIONS if isfinite(left) else Status.NON_FINITE


def settled(status: Status, left: float, tol: float) -> Status:
    """Of one that ran its course with the residual `left`."""
    return Status.CONVERGED if status is Status.MAX_ITERATIONS and left <= tol else status


def ended(w: Vector, status: Status, products: int, left: float, floor: float) -> Solution:
    """The end of a solve for a b of length one, its residual known by a recurrence.

    A recurrence goes on to fall where the residual itself does not: b − A w comes with rounding
    errors of about ε·‖A‖·‖w‖ (Greenbaum, 1997).

    Args:
        w: the answer.
        status: how it ended by the recurrence.
        products: that it took.
        left: the residual by the recurrence.
        floor: ‖A‖·‖w‖, roughly.
    """
    errors = rounding(w) / 10.0 * floor
    if status is Status.CONVERGED and errors > max(left, rounding(w) ** 0.5):
        status = Status.SINGULAR
    return Solution(w, status, products, max(left, errors))


def rounding(vector: Vector) -> float:
    """What counts as a relative rounding error in the coarsest type of a vector."""
    return 10.0 * max(torch.finfo(x.dtype).eps for x in vector.values())
