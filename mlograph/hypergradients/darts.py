"""Finite differences with the identity for the inverse Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph.hypergradients.differences import cross_derivatives
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.optimizers import rates
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Darts:
    """−(∂²L/∂u∂θ)·w by central differences, with w = scale·v.

    Two first-order gradients, no second derivatives, at parameters that are `epsilon` away in all:
    off by O(epsilon²) where the cross-derivative is curved, and by rounding errors of 1/epsilon.
    `scale: lr` is one unrolled gradient step (Liu et al., 2019, second-order DARTS); `one` drops
    the learning rate.
    """

    options: methods.Darts

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        problem = response.problem
        direction = adjoint
        if self.options.scale != "one":
            scales = rates(problem.optimizer, problem.model.params, self.options.scale)
            direction = {name: scales[name] * x for name, x in adjoint.items()}
        epsilon = self.options.epsilon
        return Pulled(cross_derivatives(response, direction, epsilon, targets))
