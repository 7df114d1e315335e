"""Linear systems of several tasks at once, A_t w_t = b_t: the solvers of `linear`, in step.

Every vector holds all tasks, and a product is that of all. Each task has its own inner products,
its own step lengths and its own end: one that has ended is not moved any more. The numbers are
those that `linear` gives for each task alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan
from typing import Literal

import torch
from torch import Tensor

from mlograph import trees
from mlograph.linear import MatVec, Solution, Status
from mlograph.linear.neumann import some_direction
from mlograph.linear.system import rounding
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.trees import Vector

# Rounding errors alone do not make a series diverge.
_GROWN = 1.0 + 1e-6


@dataclass(frozen=True)
class Solutions:
    """Approximate solutions of A_t w_t = b_t.

    Attributes:
        value: w of all tasks.
        statuses: how each ended.
        iterations: products that each took.
        residuals: ‖b − A w‖ / ‖b‖ of each, NaN where it is not known.
    """

    value: Vector
    statuses: Sequence[Status]
    iterations: Sequence[int]
    residuals: Sequence[float]

    def each(self) -> list[Solution]:
        """Those of the tasks."""
        ended = zip(self.statuses, self.iterations, self.residuals, strict=True)
        return [Solution(trees.task(self.value, task), *one) for task, one in enumerate(ended)]


def cg(matvec: MatVec, b: Vector, *, iterations: int, tol: float) -> Solutions:
    """Conjugate gradients from zero: at most `iterations` products, of all tasks at once."""
    b, sizes = _unit(b)
    w, r, p = trees.zeros_like(b), dict(b), dict(b)
    left = trees.norm_each(r)
    slope, largest = trees.dot_each(r, r), torch.zeros_like(sizes)
    active = (sizes > 0) & (left > tol)
    products = torch.zeros_like(active, dtype=torch.int64)
    broken, negative, singular = (torch.zeros_like(active) for _ in range(3))
    for _ in range(iterations):
        broken |= active & ~(slope > 0)
        active = active & ~broken
        if not bool(active.any()):
            break
        q = matvec(p)
        products += active
        curvature, length = trees.dot_each(p, q), trees.norm_each(p)
        largest = torch.maximum(largest, torch.where(active, curvature / length / length, largest))
        least = rounding(b) * largest * length
        good = active & (curvature > least * length)
        flat = trees.norm_each(q) <= least
        singular, negative = singular | active & ~good & flat, negative | active & ~good & ~flat
        step = torch.where(good, slope / curvature, 0.0)
        w, r = trees.axpy_each(step, p, w), trees.axpy_each(-step, q, r)
        left = torch.where(good, trees.norm_each(r), left)
        after = trees.dot_each(r, r)
        p = trees.axpy_each(torch.where(good, after / slope, 0.0), p, r)
        slope, active = torch.where(good, after, slope), good & (left > tol)
    done = (sizes == 0) | (left <= tol)
    status = [
        (singular, Status.SINGULAR),
        (negative, Status.NEGATIVE_CURVATURE),
        (broken, Status.BREAKDOWN),
        (done, Status.CONVERGED),
    ]
    return _solutions(w, sizes, status, products, left)


def neumann(
    matvec: MatVec, b: Vector, *, iterations: int, alpha: float | Literal["auto"], tol: float
) -> Solutions:
    """α_t Σ_{k=0..K} (I − α_t A_t)^k b_t from zero: K products, ten more for `auto`."""
    b, sizes = _unit(b)
    alphas, products = torch.full_like(sizes, 1.0), torch.zeros_like(sizes, dtype=torch.int64)
    if alpha == "auto":
        largest, products = _largest_eigenvalues(matvec, b)
        alphas = torch.where(largest > 0, 1.0 / largest, alphas)
    else:
        alphas = alphas * alpha
    term, left = dict(b), trees.norm_each(b)
    first, w = left, trees.scale_each(alphas, b)
    active = sizes > 0
    products = torch.where(active, products, 0)
    for _ in range(iterations):
        active = active & (left > tol)
        if not bool(active.any()):
            break
        after = trees.axpy_each(-alphas, matvec(term), term)
        products += active
        mask = active.to(sizes.dtype)
        w = trees.axpy_each(alphas * mask, after, w)
        left = torch.where(active, trees.norm_each(after), left)
        term = after
    done = (sizes == 0) | (left <= tol)
    grown = (sizes > 0) & (left > first.clamp(min=1.0) * _GROWN)
    status = [(grown, Status.DIVERGED), (done, Status.CONVERGED)]
    return _solutions(w, sizes, status, products, left)


def dense(matvec: MatVec, b: Vector) -> Solutions:
    """A_t⁻¹ b_t with A_t written out: one product a parameter, of all tasks at once."""
    b, sizes = _unit(b)
    flat = _flatten(b)
    tasks, size = flat.shape
    basis = torch.eye(size, dtype=flat.dtype, device=flat.device)
    columns = [_flatten(matvec(_unflatten(unit.expand(tasks, size), b))) for unit in basis]
    matrix = torch.stack(columns, dim=2)
    _check_finite(matrix)
    solved, info = torch.linalg.solve_ex(matrix, flat)
    residual = _residual(matrix, solved, flat)
    singular = (info != 0) | ~(residual <= rounding(b) ** 0.5)
    if bool(singular.any()):
        other = (torch.linalg.pinv(matrix) @ flat[:, :, None])[:, :, 0]
        solved = torch.where(singular[:, None], other, solved)
        residual = _residual(matrix, solved, flat)
    zero = sizes == 0
    status = [(singular & ~zero, Status.SINGULAR), (~singular | zero, Status.CONVERGED)]
    products = torch.where(zero, 0, size)
    return _solutions(_unflatten(solved, b), sizes, status, products, residual)


def scaled(value: Vector) -> Solutions:
    """A w that no system was solved for."""
    tasks = len(next(iter(value.values())))
    return Solutions(value, [Status.MAX_ITERATIONS] * tasks, [0] * tasks, [nan] * tasks)


def _unit(b: Vector) -> tuple[Vector, Tensor]:
    """b of each task at length one, and its length; zero stays zero."""
    sizes = trees.norm_each(b)
    _check_finite(sizes)
    return trees.scale_each(torch.where(sizes > 0, 1.0 / sizes, 0.0), b), sizes


def _solutions(
    w: Vector,
    sizes: Tensor,
    statuses: Sequence[tuple[Tensor, Status]],
    products: Tensor,
    left: Tensor,
) -> Solutions:
    """At their true lengths; the first status that is true of a task is its own."""
    value = trees.scale_each(sizes, w)
    _check_finite(trees.norm_each(value))
    _check_finite(left[sizes > 0])
    table = torch.stack([mask for mask, _ in statuses]).tolist()
    found = []
    for task in range(len(sizes)):
        told = (s for row, (_, s) in zip(table, statuses, strict=True) if row[task])
        found.append(next(told, Status.MAX_ITERATIONS))
    residuals = torch.where(sizes > 0, left, 0.0)
    return Solutions(value, found, products.tolist(), residuals.tolist())


def _check_finite(tensor: Tensor) -> None:
    if not bool(tensor.isfinite().all()):
        raise NotAtOnceError("a number is not finite", lasting=False)


def _largest_eigenvalues(matvec: MatVec, like: Vector) -> tuple[Tensor, Tensor]:
    """λmax of each task, as `linear.largest_eigenvalue` has it, and the products it took."""
    tasks = len(next(iter(like.values())))
    one = some_direction(trees.task(like, 0))
    vector = {name: x.expand(tasks, *x.shape) for name, x in one.items()}
    largest = trees.norm_each(vector)
    alive = largest > 0
    products = torch.zeros_like(alive, dtype=torch.int64)
    for _ in range(10):
        products += alive
        vector = matvec(vector)
        largest = trees.norm_each(vector)
        alive = alive & (largest > 0)
        vector = trees.scale_each(torch.where(alive, 1.0 / largest, 0.0), vector)
    return torch.where(alive, 1.1 * largest, 0.0), products


def _flatten(vector: Vector) -> Tensor:
    return torch.cat([x.flatten(1) if x.dim() > 1 else x[:, None] for x in vector.values()], dim=1)


def _unflatten(flat: Tensor, like: Vector) -> Vector:
    sizes = [x[0].numel() for x in like.values()]
    pieces = flat.split(sizes, dim=1)
    return {
        name: piece.reshape(x.shape) for piece, (name, x) in zip(pieces, like.items(), strict=True)
    }


def _residual(matrix: Tensor, solved: Tensor, flat: Tensor) -> Tensor:
    left = flat - (matrix @ solved[:, :, None])[:, :, 0]
    size = flat.norm(dim=1)
    return torch.where(size > 0, left.norm(dim=1) / size, 0.0)
