"""The ends of a Hessian's spectrum."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from mlograph import trees
from mlograph.gradcheck.differences import directions
from mlograph.linear import MatVec
from mlograph.trees import Vector

_STEPS = 30


@dataclass(frozen=True)
class Spectrum:
    """The smallest and the largest eigenvalue of a symmetric matrix, as far as they were seen."""

    smallest: float
    largest: float

    def condition(self, damping: float = 0.0) -> float:
        """λmax / λmin with something added to the diagonal; infinite where that is singular."""
        low, high = self.smallest + damping, self.largest + damping
        return high / low if low > 1e-12 * abs(high) else float("inf")


def spectrum(matvec: MatVec, like: Vector) -> Spectrum:
    """By Lanczos' method (1950), fully orthogonalised: the ends are found first, from within.

    At most `_STEPS` products; with no more dimensions than that, both ends are exact.
    """
    start = trees.flatten(directions(like, 1, seed=0)[0])
    basis, alphas, betas = [start], list[float](), list[float]()
    scale = 0.0
    for _ in range(min(_STEPS, start.numel())):
        vector = trees.flatten(matvec(trees.unflatten(basis[-1], like)))
        alphas.append(float(vector @ basis[-1]))
        V = torch.stack(basis)
        for _ in range(2):
            vector = vector - (V @ vector) @ V
        length = float(vector.norm())
        scale = max(scale, abs(alphas[-1]), length)
        if not length > 1e-10 * scale:
            break
        betas.append(length)
        basis.append(vector / length)
    size = len(alphas)
    T = torch.diag(torch.tensor(alphas, dtype=torch.float64))
    for index, beta in enumerate(betas[: size - 1]):
        T[index, index + 1] = T[index + 1, index] = beta
    values = torch.linalg.eigvalsh(T)
    return Spectrum(float(values[0]), float(values[-1]))
