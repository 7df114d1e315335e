"""Finite differences with the identity for the inverse Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import trees
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.problem import gradients_by_owner
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Darts:
    """−(∂_u L(θ + εw) − ∂_u L(θ − εw)) / 2ε with w = scale·v and ε = epsilon/‖w‖.

    Two first-order gradients, no second derivatives. `scale: lr` is one unrolled gradient step
    (Liu et al., 2019, second-order DARTS); `one` drops the learning rate. Both evaluations draw
    the same random numbers and work on copies: parameters and buffers are never touched. Only
    the loss terms that read a target are evaluated.
    """

    options: methods.Darts

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        direction = self._scaled(response, adjoint)
        size = float(trees.norm(direction))
        if size == 0.0:
            return Pulled({t: trees.zeros_like(self._params(response, t)) for t in targets})
        epsilon = self.options.epsilon / size
        ahead = self._gradients(response, direction, epsilon, targets)
        behind = self._gradients(response, direction, -epsilon, targets)
        return Pulled(
            {
                target: trees.scale(-0.5 / epsilon, trees.axpy(-1.0, behind[target], ahead[target]))
                for target in targets
            }
        )

    def _scaled(self, response: Response, adjoint: Vector) -> Vector:
        if self.options.scale == "one":
            return adjoint
        problem = response.problem
        rates = {
            id(p): float(group["lr"])
            for group in problem.optimizer.param_groups
            for p in group["params"]
        }
        return {n: rates[id(problem.model.params[n])] * x for n, x in adjoint.items()}

    def _gradients(
        self, response: Response, direction: Vector, factor: float, targets: tuple[str, ...]
    ) -> dict[str, Vector]:
        problem = response.problem
        own = {name: problem.model.params[name].detach() for name in direction}
        view = problem.model.at(trees.axpy(factor, direction, own))
        with response.moment.random.replayed(problem.device):
            terms = problem.terms_reading(targets)
            evaluation = problem.evaluate(
                problem.views({problem.name: view}), response.moment, terms
            )
        moved = {target: self._params(response, target) for target in targets}
        return gradients_by_owner(evaluation.loss, moved)

    def _params(self, response: Response, target: str) -> Vector:
        return response.problem.others[target].params
