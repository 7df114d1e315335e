"""Conjugate gradients: implicit MAML's method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import linear
from mlograph.hypergradients.implicit import Implicit
from mlograph.language import methods
from mlograph.linear import Solution, System
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class ConjugateGradient(Implicit):
    """(H + damping·I) w = v by at most `iterations` steps of conjugate gradients.

    One HVP an iteration, and one more with a warm start. H must be positive definite for the
    full answer; on negative curvature the last good iterate is used. Pedregosa (2016),
    Rajeswaran et al. (2019).
    """

    options: methods.ConjugateGradient

    def solve(self, system: System, adjoint: Vector, guess: Vector | None = None) -> Solution:
        return linear.cg(
            system.damped(self.options.damping).product,
            adjoint,
            iterations=self.options.iterations,
            tol=self.options.tol,
            start=guess if self.options.warm_start else None,
        )
