"""Stabilised biconjugate gradients, for a condition that is no gradient."""

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
class Bicgstab(Implicit):
    """(∂Φ/∂θ + damping·I)ᵀ w = v by BiCGSTAB, for a Jacobian that need not be symmetric.

    At most 2·`iterations` products, one more with a warm start, and those of a preconditioner;
    memory for a few vectors. The best iterate is used. Van der Vorst (1992); for hypergradients,
    Blondel et al. (2022).
    """

    options: methods.Bicgstab

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        matvec = system.damped(self.options.damping).product
        return linear.bicgstab(
            matvec,
            adjoint,
            iterations=self.options.iterations,
            tol=self.options.tol,
            start=guess if self.options.warm_start else None,
            precondition=preconditioner(self.options, matvec, adjoint),
        )
