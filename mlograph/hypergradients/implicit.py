"""The implicit function theorem: what all methods with a linear system share."""

from __future__ import annotations

from abc import ABC, abstractmethod

from mlograph import linear, trees
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.linear import MatVec, Preconditioner, Solution, System
from mlograph.problem import Problem
from mlograph.residual import filled
from mlograph.trees import Vector


class Implicit(ABC):
    """−(∂Φ/∂target)ᵀ w with (∂Φ/∂θ)ᵀ w = adjoint, from Φ(θ, u) = 0 at the solution.

    The solver is what differs. Φ is recorded once and serves every product. Parameters that the
    loss never touches have no condition to satisfy and are left out. Bengio (2000).

    Options, where a method has them: `curvature` says whether the Jacobian contains how problems
    below answer (`total`, by double implicit products) or not (`partial`). `damping` is added to
    its diagonal. Iterations end at ‖residual‖ ≤ `tol`·‖v‖, and begin at the last w for the same
    pair of problems with `warm_start`, which costs a product. `precondition`: by the diagonal from
    `rank` probes, or by `rank` columns and `rho`; `rank` products in either case.
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
        # The loss may have touched other parameters when the last system was solved.
        guess = None if response.guess is None else filled(response.guess, residual.params)
        solution = self.solve(response.problem, system, filled(known, residual.params), guess)
        crossed = residual.cross(solution.value, targets)
        sent = {target: trees.scale(-1.0, vector) for target, vector in crossed.items()}
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
