"""Finite differences with one step of the optimiser for the inverse Hessian."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from mlograph import hyperparameters
from mlograph.hypergradients.differences import cross_derivatives
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.optimizers import differentiable_step, read_state
from mlograph.problem import Problem, clipped, with_field
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Sama:
    """−(∂²L/∂u∂θ)·w by central differences, with w = −(∂θ'/∂g)ᵀ v.

    θ' = opt(θ, s, g) is one more step of the lower optimiser from where it stands, by torch's own
    update with its present state s, gradient clipping included, at the gradient g = ∂L/∂θ of the
    last batch: so −(∂θ'/∂g) is what one step makes of a gradient, lr for SGD, and for Adam

        lr · ((1 − β₁)/(1 − β₁ᵗ) − m̂ ∂√v̂/∂g / (√v̂ + ε)) / (√v̂ + ε)

    with both bias corrections. The result is that of one more unrolled step, up to O(`epsilon`²),
    `epsilon` being how far all parameters together are moved. Three first-order gradients, no
    second derivatives of a loss. Choe et al. (2023).
    """

    options: methods.Sama

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        direction = self._through_step(response.problem, self._gradient(response), adjoint)
        if not direction:
            return Pulled({target: {} for target in targets})
        return Pulled(cross_derivatives(response, direction, self.options.epsilon, targets))

    def _gradient(self, response: Response) -> Vector:
        """∂L/∂θ where the problem stands, as leaves."""
        problem, moment = response.problem, response.moment
        with moment.random.replayed(problem.device):
            wanted = {problem.name: problem.model.params}
            evaluation, slopes = problem.slopes(problem.views(), moment, wanted)
        found = with_field(slopes[problem.name], evaluation)
        return {name: g.detach().requires_grad_() for name, g in found.items()}

    def _through_step(self, problem: Problem, gradient: Vector, adjoint: Vector) -> Vector:
        """w = −(∂θ'/∂g)ᵀ v; parameters without a gradient are not moved by a step."""
        reached = [name for name in adjoint if name in gradient]
        if not reached:
            return {}
        own = problem.model.params
        with torch.enable_grad():
            after = differentiable_step(
                problem.optimizer,
                own,
                {name: param.detach() for name, param in own.items()},
                read_state(problem.optimizer, own),
                clipped(gradient, problem.spec.gradient_clipping),
                learned=hyperparameters.present(problem),
            ).params
        found = torch.autograd.grad(
            [after[name] for name in reached],
            [*gradient.values()],
            [-adjoint[name] for name in reached],
            allow_unused=True,
        )
        pairs = zip(gradient.items(), found, strict=True)
        return {name: torch.zeros_like(g) if w is None else w for (name, g), w in pairs}
