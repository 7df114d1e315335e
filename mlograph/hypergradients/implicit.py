"""The implicit function theorem: what all methods with a linear system share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mlograph import trees
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.linear import Solution, System
from mlograph.problem import filled
from mlograph.trees import Vector


class Implicit(ABC):
    """−(∂Φ/∂target)ᵀ w with (∂Φ/∂θ)ᵀ w = adjoint, from Φ(θ, u) = 0 at the solution.

    The solver is what differs. Φ is recorded once and serves every product. Parameters that the
    loss never touches have no condition to satisfy and are left out.
    """

    @abstractmethod
    def solve(self, system: System, adjoint: Vector, guess: Vector | None = None) -> Solution:
        """w with A w = adjoint, for A = (∂Φ/∂θ)ᵀ; `guess` is the last such w, if there was one."""

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        residual = response.residual()
        if not residual.params:
            return Pulled({target: {} for target in targets})
        known = {name: x for name, x in adjoint.items() if name in residual.params}
        system = System(residual.vjp, residual.jvp)
        solution = self.solve(system, filled(known, residual.params), response.guess)
        sent = {t: trees.scale(-1.0, residual.cross(solution.value, t)) for t in targets}
        return Pulled(sent, solution)
