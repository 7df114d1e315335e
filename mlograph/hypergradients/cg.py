"""Conjugate gradients: implicit MAML's method."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import final

from mlograph import linear
from mlograph.hypergradients.implicit import implicit_pull
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class ConjugateGradient:
    """(H + damping·I) w = v by at most `iterations` steps of conjugate gradients.

    One HVP an iteration, and one more with a warm start. H must be positive definite for the
    full answer; on negative curvature the last good iterate is used. Pedregosa (2016),
    Rajeswaran et al. (2019).
    """

    options: methods.ConjugateGradient

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        solve = partial(
            linear.cg,
            iterations=self.options.iterations,
            tol=self.options.tol,
            start=response.guess if self.options.warm_start else None,
        )
        return implicit_pull(response, adjoint, targets, solve, self.options.damping)
