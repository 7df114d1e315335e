"""A symmetric matrix from some of its columns."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlograph import trees
from mlograph.linear.system import MatVec
from mlograph.trees import Vector


@dataclass(frozen=True)
class LowRank:
    """U diag(s) Uᵀ.

    Attributes:
        basis: U, [p, r], with orthonormal columns.
        values: s, [r], in ascending order.
        products: with A, that it took; NaN in these leaves U without columns.
        finite: whether these products were.
    """

    basis: Tensor
    values: Tensor
    products: int
    finite: bool = True


def low_rank(matvec: MatVec, like: Vector, *, rank: int, seed: int = 0) -> LowRank:
    """The Nyström approximation C W⁺ Cᵀ, with C some random columns of A and W their rows in C.

    For a symmetric positive A; exact where its rank is not larger (Drineas and Mahoney, 2005).
    W may be singular: directions in which it is zero up to rounding are left out, those in which
    C is zero with it. It comes as eigenvectors and eigenvalues, so that nothing is divided by
    small numbers afterwards. `rank` products, p·rank memory, O(p·rank²) time. The columns follow
    from `seed`; no global random state is touched.
    """
    flat = trees.flatten(like)
    size = flat.numel()
    columns = torch.randperm(size, generator=torch.Generator().manual_seed(seed))[:rank]
    chosen = [int(index) for index in columns]
    C = torch.stack([_column(matvec, like, flat, index) for index in chosen], dim=1)
    if not bool(C.isfinite().all()):
        return LowRank(flat.new_zeros(size, 0), flat.new_zeros(0), len(chosen), finite=False)
    W = C[chosen]
    values, vectors = torch.linalg.eigh((W + W.T) / 2)
    kept = values.abs() > size * torch.finfo(flat.dtype).eps * values.abs().max()
    Q, R = torch.linalg.qr(C @ vectors[:, kept])
    core = R @ torch.diag(values[kept].reciprocal()) @ R.T
    s, V = torch.linalg.eigh((core + core.T) / 2)
    return LowRank(Q @ V, s, len(chosen))


def _column(matvec: MatVec, like: Vector, flat: Tensor, index: int) -> Tensor:
    unit = torch.zeros_like(flat)
    unit[index] = 1.0
    return trees.flatten(matvec(trees.unflatten(unit, like)))
