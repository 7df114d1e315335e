"""Conjugate gradients on the normal equations, for any condition."""

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
class NormalConjugateGradient(Implicit):
    """(∂Φ/∂θ + damping·I)ᵀ w = v by conjugate gradients on its normal equations, for any Jacobian.

    A VJP and a JVP of Φ in each of at most `iterations`, the latter at the price of two, and one
    more VJP with a warm start. The residual falls steadily, slowly where the Jacobian is badly
    conditioned; a singular system gives the least-squares solution. Blondel et al. (2022).
    """

    options: methods.NormalConjugateGradient

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        return linear.normal_cg(
            system.damped(self.options.damping),
            adjoint,
            iterations=self.options.iterations,
            tol=self.options.tol,
            start=guess if self.options.warm_start else None,
        )
