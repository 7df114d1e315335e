"""Generalised minimal residuals, for a condition that is no gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import linear
from mlograph.hypergradients.implicit import Implicit, preconditioner
from mlograph.language import methods
from mlograph.linear import Solution, System
from mlograph.problem import Problem
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Gmres(Implicit):
    """(∂Φ/∂θ + damping·I)ᵀ w = v by GMRES, for a Jacobian that need not be symmetric or positive.

    At most `iterations` products, one more with a warm start, and those of a preconditioner. K
    iterations leave the smallest residual of the Krylov space that they span, in memory for min(K,
    `restart`) + 1 vectors. Saad and Schultz (1986); for hypergradients, Blondel et al. (2022).
    """

    options: methods.Gmres

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        matvec = system.damped(self.options.damping).product
        return linear.gmres(
            matvec,
            adjoint,
            iterations=self.options.iterations,
            restart=self.options.restart,
            tol=self.options.tol,
            start=guess if self.options.warm_start else None,
            precondition=preconditioner(self.options, matvec, adjoint),
        )
