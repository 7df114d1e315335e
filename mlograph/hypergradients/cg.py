"""Conjugate gradients: implicit MAML's method."""

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
class ConjugateGradient(Implicit):
    """(H + damping·I) w = v by at most `iterations` steps of conjugate gradients.

    One HVP an iteration, one more with a warm start, and those of a preconditioner. H must be
    positive definite for the full answer; on negative curvature the last good iterate is used,
    which at the first product is zero: nothing then comes back through the problem, and the run
    says so. Pedregosa (2016), Rajeswaran et al. (2019).
    """

    options: methods.ConjugateGradient

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        matvec = system.damped(self.options.damping).product
        return linear.cg(
            matvec,
            adjoint,
            iterations=self.options.iterations,
            tol=self.options.tol,
            start=guess if self.options.warm_start else None,
            precondition=preconditioner(self.options, matvec, adjoint),
        )
