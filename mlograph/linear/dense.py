"""The dense inverse."""

from __future__ import annotations

from math import isfinite, nan

import torch

from mlograph import trees
from mlograph.linear.system import MatVec, Solution, Status, at_unit_size, rounding
from mlograph.trees import Vector


def dense(matvec: MatVec, b: Vector) -> Solution:
    """A⁻¹ b with A written out: n products, O(n²) memory, O(n³) time.

    A singular A gives the least-squares solution of least norm, and says so.
    """
    return at_unit_size(b, None, lambda b, _: _dense(matvec, b))


def _dense(matvec: MatVec, b: Vector) -> Solution:
    flat = trees.flatten(b)
    basis = torch.eye(flat.numel(), dtype=flat.dtype, device=flat.device)
    rows = [trees.flatten(matvec(trees.unflatten(unit, b))) for unit in basis]
    matrix = torch.stack(rows, dim=1)
    if not bool(matrix.isfinite().all()):
        return Solution(trees.zeros_like(b), Status.NON_FINITE, len(rows), nan)
    solved, info = torch.linalg.solve_ex(matrix, flat)
    residual, status = float((flat - matrix @ solved).norm() / flat.norm()), Status.CONVERGED
    # Rounding errors can hide a zero pivot; they show in what is left.
    if int(info) != 0 or not isfinite(residual) or residual > rounding(b) ** 0.5:
        solved, status = torch.linalg.pinv(matrix) @ flat, Status.SINGULAR
        residual = float((flat - matrix @ solved).norm() / flat.norm())
    return Solution(trees.unflatten(solved, b), status, len(rows), residual)
