"""Generalised minimal residuals."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

import torch
from torch import Tensor

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


def gmres(
    matvec: MatVec,
    b: Vector,
    *,
    iterations: int,
    restart: int,
    tol: float,
    start: Vector | None = None,
    precondition: Preconditioner = NONE,
) -> Solution:
    """GMRES (Saad and Schultz, 1986) for any A, begun anew after every `restart` iterations.

    K ≤ `restart` iterations give the smallest ‖b − A w‖ in span{b, Ab, …, A^{K−1}b}; with a
    preconditioner on the right, the same residual in M⁻¹ times that space for A M⁻¹. The residual
    is b − A w itself, from the relation A V_k = V_{k+1} H that holds to rounding errors, so that
    it costs no product. Stops at ‖residual‖ ≤ tol·‖b‖; as singular where the space is exhausted
    before, with the least-squares solution in it; as breakdown where a whole round gains nothing.

    One product an iteration; from `start`, one more. Memory (restart + 1)·p.
    """
    return at_unit_size(
        b, start, lambda b, start: _gmres(matvec, b, iterations, restart, tol, start, precondition)
    )


def _gmres(
    matvec: MatVec,
    b: Vector,
    iterations: int,
    restart: int,
    tol: float,
    start: Vector | None,
    precondition: Preconditioner,
) -> Solution:
    begun = Begun.at(matvec, b, start)
    w, r, products = begun.w, begun.r, begun.products + precondition.products
    left, taken, floor = float(trees.norm(r)), 0, 0.0
    status = status_of(left)
    while status is Status.MAX_ITERATIONS and left > tol and taken < iterations:
        count = min(restart, iterations - taken)
        done = _round(matvec, r, count, tol / left, precondition)
        w, r = trees.add(w, done.moved), done.rest
        taken, before, left = taken + done.products, left, float(trees.norm(r))
        floor += done.floor
        status = done.status
        if status is Status.MAX_ITERATIONS and left > before * (1.0 - rounding(b)):
            status = Status.BREAKDOWN
    return ended(w, settled(status, left, tol), products + taken, left, floor)


@dataclass(frozen=True)
class _Round:
    """What one round adds to w, what it leaves of the residual, and how it ended."""

    moved: Vector
    rest: Vector
    floor: float
    products: int
    status: Status


def _round(
    matvec: MatVec, r: Vector, count: int, enough: float, precondition: Preconditioner
) -> _Round:
    """At most `count` iterations of Arnoldi's, until the residual is `enough` times that of r."""
    flat, small = trees.flatten(r), rounding(r)
    V = flat.new_zeros(count + 1, flat.numel())
    V[0] = flat / flat.norm()
    H = torch.zeros(count + 1, count, dtype=torch.float64)
    y, done, products, status = torch.zeros(0, dtype=torch.float64), 0, 0, Status.MAX_ITERATIONS
    largest = 0.0
    while done < count and status is Status.MAX_ITERATIONS:
        column = trees.flatten(matvec(precondition.apply(trees.unflatten(V[done], r))))
        products += 1
        column, told = _orthogonal(column, V[: done + 1])
        length, height = told[-2:].tolist()
        if not isfinite(length):
            status = Status.NON_FINITE
            break
        largest = max(largest, length)
        H[: done + 1, done] += told[: done + 1]
        H[: done + 1, done] += told[done + 1 : -2]
        if height > small * length:
            H[done + 1, done] = height
            V[done + 1] = column / height
        done += 1
        y, left = _least(H[: done + 1, :done])
        if left <= enough:
            status = Status.CONVERGED
        elif height <= small * length:
            status = Status.CONVERGED if left <= small**0.5 else Status.SINGULAR
    size = flat.norm()
    moved = trees.unflatten(size * (y.to(V) @ V[:done]), r)
    rest = flat - size * ((H[: done + 1, :done] @ y).to(V) @ V[: done + 1])
    floor = float(size) * float(y.norm()) * largest
    return _Round(precondition.apply(moved), trees.unflatten(rest, r), floor, products, status)


def _orthogonal(column: Tensor, V: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of a column beside the rows of V, and numbers for the CPU, all at once.

    These are its shares in V, those that this left in it, and its length before and after.
    """
    size, shares = column.norm(), []
    # Twice is enough for orthogonality up to rounding errors.
    for _ in range(2):
        shares.append(V @ column)
        column = column - shares[-1] @ V
    told = torch.cat([*shares, size[None], column.norm()[None]])
    return column, told.to("cpu", torch.float64)


def _least(H: Tensor) -> tuple[Tensor, float]:
    """The y of least ‖e₁ − H y‖, and that."""
    e = torch.zeros(len(H), 1, dtype=H.dtype)
    e[0] = 1.0
    y = torch.linalg.lstsq(H, e, driver="gelsd").solution
    return y[:, 0], float((e - H @ y).norm())
