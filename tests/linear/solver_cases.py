"""Matrices that are known by their products, and vectors in two tensors."""

from __future__ import annotations

import torch
from cases import numbers, positive
from torch import Tensor

from mlograph import trees
from mlograph.linear import Solution, System
from mlograph.trees import Vector


def vector(x: Tensor) -> Vector:
    return {"head": x[:1], "tail": x[1:].reshape(1, -1)}


class Counted:
    """x ↦ A x on named tensors, counting its calls."""

    def __init__(self, A: Tensor) -> None:
        self.A, self.calls = A, 0

    def __call__(self, x: Vector) -> Vector:
        self.calls += 1
        return trees.unflatten(self.A @ trees.flatten(x), x)


def system(A: Tensor) -> System:
    return System(Counted(A), Counted(A.T))


def value(solution: Solution) -> Tensor:
    return trees.flatten(solution.value)


def true_residual(A: Tensor, b: Tensor, solution: Solution) -> float:
    return float((b - A @ value(solution)).norm() / b.norm())


def with_eigenvalues(*values: float, seed: int = 1) -> Tensor:
    basis = torch.linalg.qr(numbers(len(values), len(values), seed=seed)).Q
    return basis @ torch.tensor(values, dtype=torch.float64).diag() @ basis.T


def diagonal(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64).diag()


A, B = positive(6, seed=1), numbers(6, seed=2)
# Its symmetric part is positive, and it is far from symmetric.
SKEWED = A + 2 * (numbers(6, 6, seed=3) - numbers(6, 6, seed=3).T)
