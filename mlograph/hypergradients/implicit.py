"""The implicit function theorem: what all methods with a linear system share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mlograph import linear, trees
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.linear import MatVec, Preconditioner, Solution, System
from mlograph.problem import Problem, filled
from mlograph.trees import Vector


class Implicit(ABC):
    """−(∂Φ/∂target)ᵀ w with (∂Φ/∂θ)ᵀ w = adjoint, from Φ(θ, u) = 0 at the solution.

    The solver is what differs. Φ is recorded once and serves every product. Parameters that the
    loss never touches have no condition to satisfy and are left out.
    """

    @abstractmethod
    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        """w with A w = adjoint, for A = (∂Φ/∂θ)ᵀ; `guess` is the last such w, if there was one."""

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        residual = response.residual()
        if not residual.params:
            return Pulled({target: {} for target in targets})
        known = {name: x for name, x in adjoint.items() if name in residual.params}
        system = System(residual.vjp, residual.jvp)
        solution = self.solve(
            response.problem, system, filled(known, residual.params), response.guess
        )
        sent = {t: trees.scale(-1.0, residual.cross(solution.value, t)) for t in targets}
        return Pulled(sent, solution)


def preconditioner(options: methods.Preconditioned, matvec: MatVec, like: Vector) -> Preconditioner:
    """The preconditioner that a method's options ask for, made anew for every solve."""
    rank = 10 if options.rank == "auto" else options.rank
    match options.precondition:
        case "none":
            return linear.NONE
        case "jacobi":
            return linear.jacobi(matvec, like, probes=rank)
        case "nystrom":
            return linear.nystrom_preconditioner(matvec, like, rank=rank, rho=options.rho)
