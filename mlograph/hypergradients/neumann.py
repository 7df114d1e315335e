"""The truncated Neumann series of the inverse Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import linear
from mlograph.hypergradients.implicit import Implicit
from mlograph.language import methods
from mlograph.linear import Solution, System
from mlograph.problem import Problem
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Neumann(Implicit):
    """w = α Σ_{k=0..K} (I − α(H + damping·I))^k v: K HVPs. Lorraine et al. (2020).

    K is `iterations`. With `alpha: auto`, ten more HVPs estimate λmax and α is 1/λmax. Equals K+1
    steps of gradient descent on the linear system, and, for α the inner learning rate, truncated
    unrolling at the solution. Diverges where α·λmax > 2.
    """

    options: methods.Neumann

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        return linear.neumann(
            system.damped(self.options.damping).product,
            adjoint,
            iterations=self.options.iterations,
            alpha=self.options.alpha,
            tol=self.options.tol,
            start=guess if self.options.warm_start else None,
        )
