"""Cheap approximate inverses that make a system easier for conjugate gradients and their kin."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from mlograph import trees
from mlograph.linear.low_rank import low_rank
from mlograph.linear.system import MatVec, rounding
from mlograph.trees import Vector


def _same(vector: Vector) -> Vector:
    return vector


@dataclass(frozen=True)
class Preconditioner:
    """M⁻¹, for some M near A.

    Attributes:
        apply: x ↦ M⁻¹ x.
        products: with A, that it took to make it.
    """

    apply: MatVec
    products: int


NONE = Preconditioner(_same, 0)


def jacobi(matvec: MatVec, like: Vector, *, probes: int) -> Preconditioner:
    """M = diag(A), estimated by the mean of z ⊙ A z over `probes` random z of ±1.

    Hutchinson's estimate (Bekas, Kokiopoulou and Saad, 2007): unbiased, its variance the squares
    of what stands beside the diagonal. As many probes as parameters, or more, are spent on the
    unit vectors instead, which is exact. M shall be positive: absolute values are taken, and
    nothing below √ε of the largest entry, ε being what counts as a rounding error. The same
    probes every time; no global random state is touched.
    """
    size = trees.flatten(like).numel()
    directions = _units(like) if probes >= size else _signs(like, probes)
    total, count = trees.zeros_like(like), 0
    for z in directions:
        product = matvec(z)
        total = {name: x + z[name] * product[name] for name, x in total.items()}
        count += 1
    weight = 1.0 if probes >= size else 1.0 / count
    diagonal = {name: weight * x.abs() for name, x in total.items()}
    largest = max(float(x.max()) for x in diagonal.values() if x.numel())
    if not 0.0 < largest < float("inf"):
        return Preconditioner(_same, count)
    least = rounding(like) ** 0.5 * largest
    inverse = {name: x.clamp(min=least).reciprocal() for name, x in diagonal.items()}
    return Preconditioner(
        lambda vector: {name: inverse[name] * x for name, x in vector.items()}, count
    )


def nystrom_preconditioner(
    matvec: MatVec, like: Vector, *, rank: int, rho: float
) -> Preconditioner:
    """M = (A_r + ρI)/(s + ρ), with A_r the Nyström approximation and s its smallest eigenvalue.

    What lies outside the space of A_r is left as it is (Frangella, Tropp and Udell, 2023).
    Eigenvalues below zero count as zero. `rank` products, memory rank·p.
    """
    found = low_rank(matvec, like, rank=rank)
    values = found.values.clamp(min=0.0)
    if not values.numel():
        return Preconditioner(_same, found.products)
    factors = (values.min() + rho) / (values + rho)

    def apply(vector: Vector) -> Vector:
        flat = trees.flatten(vector)
        inside = found.basis.T @ flat
        return trees.unflatten(flat + found.basis @ ((factors - 1.0) * inside), vector)

    return Preconditioner(apply, found.products)


def _units(like: Vector) -> Iterator[Vector]:
    flat = trees.flatten(like)
    for index in range(flat.numel()):
        unit = torch.zeros_like(flat)
        unit[index] = 1.0
        yield trees.unflatten(unit, like)


def _signs(like: Vector, count: int) -> Iterator[Vector]:
    flat, generator = trees.flatten(like), torch.Generator().manual_seed(0)
    for _ in range(count):
        signs = 2.0 * torch.randint(2, flat.shape, generator=generator) - 1.0
        yield trees.unflatten(signs.to(flat), like)
