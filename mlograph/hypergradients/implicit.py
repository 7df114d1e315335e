"""The implicit function theorem: what all methods with a linear system share."""

from __future__ import annotations

from collections.abc import Callable

from mlograph import trees
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.linear import MatVec, Solution
from mlograph.problem import filled
from mlograph.trees import Vector

Solver = Callable[[MatVec, Vector], Solution]


def implicit_pull(
    response: Response,
    adjoint: Vector,
    targets: tuple[str, ...],
    solve: Solver,
    damping: float,
) -> Pulled:
    """−(∂²L/∂target∂θ)ᵀ w with (H + damping·I) w = adjoint, from ∂L/∂θ = 0 at the solution.

    The gradient is recorded once and serves every Hessian and cross product. Parameters that the
    loss never touches have no condition to satisfy and are left out.
    """
    residual = response.problem.residual(response.moment)
    if not residual.params:
        return Pulled({target: {} for target in targets})

    def matvec(vector: Vector) -> Vector:
        product = residual.hvp(vector)
        return trees.axpy(damping, vector, product) if damping else product

    solution = solve(matvec, filled(_restricted(adjoint, residual.params), residual.params))
    sent = {target: trees.scale(-1.0, residual.cross(solution.value, target)) for target in targets}
    return Pulled(sent, solution)


def _restricted(vector: Vector, like: Vector) -> Vector:
    return {name: tensor for name, tensor in vector.items() if name in like}
