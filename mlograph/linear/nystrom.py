"""The inverse of a low-rank approximation."""

from __future__ import annotations

from math import isfinite, nan

from mlograph import trees
from mlograph.linear.low_rank import low_rank
from mlograph.linear.system import MatVec, Solution, Status, at_unit_size, rounding
from mlograph.trees import Vector


def nystrom(matvec: MatVec, b: Vector, *, rank: int, rho: float, seed: int = 0) -> Solution:
    """(A_r + ρI)⁻¹ b, with A_r = C W⁺ Cᵀ from `rank` random columns of A (Hataya and Yamada, 2023).

    For a symmetric positive A. Woodbury's formula,

        b/ρ − C (W + CᵀC/ρ)⁻¹ Cᵀ b/ρ²,

    subtracts large numbers where ρ is small and needs W to be regular; with A_r = U diag(s) Uᵀ the
    same is U diag(1/(s + ρ)) Uᵀ b + (b − U Uᵀ b)/ρ. Eigenvalues s below zero count as zero, and
    are told as negative curvature. The residual is that of (A + ρI) w = b; the solve counts as
    converged where it is no more than rounding errors leave, which a true low rank gives.
    `rank` products and one for the residual; memory rank·p.
    """
    return at_unit_size(b, None, lambda b, _: _nystrom(matvec, b, rank, rho, seed))


def _nystrom(matvec: MatVec, b: Vector, rank: int, rho: float, seed: int) -> Solution:
    found = low_rank(matvec, b, rank=rank, seed=seed)
    if not found.finite:
        return Solution(trees.zeros_like(b), Status.NON_FINITE, found.products, nan)
    flat = trees.flatten(b)
    inside = found.basis.T @ flat
    solved = found.basis @ (inside / (found.values.clamp(min=0.0) + rho))
    if found.basis.shape[1] < len(flat):  # else only rounding errors are outside
        solved = solved + (flat - found.basis @ inside) / rho
    w = trees.unflatten(solved, b)
    rest = trees.axpy(-1.0, trees.axpy(rho, w, matvec(w)), b)
    residual = float(trees.norm(rest))
    small = rounding(b) ** 0.5
    status = Status.MAX_ITERATIONS if isfinite(residual) else Status.NON_FINITE
    if residual <= small:
        status = Status.CONVERGED
    if found.values.numel() and bool(found.values[0] < -small * found.values.abs().max()):
        status = Status.NEGATIVE_CURVATURE
    return Solution(w, status, found.products + 1, residual)
