"""The truncated Neumann series of the inverse Hessian."""

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
class Neumann:
    """w = α Σ_{k=0..K} (I − α(H + damping·I))^k v: K HVPs. Lorraine et al. (2020).

    Equals K+1 steps of gradient descent on the linear system, and, for α the inner learning
    rate, truncated unrolling at the solution. Diverges where α·λmax > 2.
    """

    options: methods.Neumann

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        solve = partial(
            linear.neumann, iterations=self.options.iterations, alpha=self.options.alpha
        )
        return implicit_pull(response, adjoint, targets, solve, self.options.damping)
