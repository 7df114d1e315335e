"""Lower problems solved to their ends, on the batches that they stand on.

A problem rests where Φ(θ) = 0, with Φ its gradient, its field, or its total gradient through the
problems that answer to it, which are solved anew wherever it moves. Newton's method with a line
search, from where it stands.

What a total gradient is follows from one application of the implicit function theorem, which the
check of the middle problem's own hypergradient compares with nothing but solved problems.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf

import torch
from torch import Tensor

from mlograph import linear, trees
from mlograph.adjoints import Adjoints
from mlograph.linear import Status
from mlograph.plan import Visit
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.residual import Residual
from mlograph.trees import Vector

_MOST_STEPS = 40
_MOST_HALVINGS = 30
_MOST_ROUNDS = 20
_DENSE = 64
_PRODUCTS = 100


@dataclass(frozen=True)
class Rest:
    """Where a problem came to rest.

    Attributes:
        problem: its name.
        found: Newton's method ended, which is known by the length of its steps.
        minimum: no direction of negative curvature was met at the end.
        left: ‖Φ‖ there.
        moved: it did not rest there before.
    """

    problem: str
    found: bool
    minimum: bool
    left: float
    moved: bool


def settle(program: Program, upper: str) -> tuple[Rest, ...]:
    """Bring all problems that answer to `upper` to rest, and say where each ended.

    Problems that depend on one another in a circle take turns until none moves.
    """
    visits = program.plan.sweeps[upper].visits
    for _ in range(_MOST_ROUNDS):
        # What is visited last depends on nothing that is visited before it.
        rests = tuple(_come_to_rest(program, visit) for visit in reversed(visits))
        if not all(rest.found for rest in rests):
            return rests
        if len(visits) == 1 or not any(rest.moved for rest in rests):
            return rests
    return tuple(Rest(r.problem, False, r.minimum, r.left, True) for r in rests)


def _come_to_rest(program: Program, visit: Visit) -> Rest:
    problem = program.problems[visit.problem]
    eps = max(torch.finfo(x.dtype).eps for x in problem.model.params.values())
    enough, close = eps**0.7, 10.0 * eps**0.5
    before, moved = inf, False
    for count in range(_MOST_STEPS):
        step = _newton(program, visit)
        length = step.length
        ended = length <= enough or (length <= close and length > 0.5 * before)
        if ended or count == _MOST_STEPS - 1 or not _advance(program, visit, step):
            break
        before, moved = length, True
    return Rest(problem.name, length <= close, step.convex, step.residual, moved)


@dataclass(frozen=True)
class _Newton:
    """One step of Newton's method.

    Attributes:
        start: θ, without the parameters that the loss never touches.
        direction: to go from there.
        merit: what must become less along it.
        slope: its derivative there.
        residual: ‖Φ‖.
        convex: no negative curvature was met.
    """

    start: Vector
    direction: Vector
    merit: float
    slope: float
    residual: float
    convex: bool

    @property
    def length(self) -> float:
        """Of the step, relative to θ."""
        return float(trees.norm(self.direction)) / max(float(trees.norm(self.start)), 1e-3)


def _newton(program: Program, visit: Visit) -> _Newton:
    """The step from where a problem stands; of no finite length where numbers are not finite."""
    problem = program.problems[visit.problem]
    merit = _merit(program, visit)
    residual = Adjoints(program).condition(visit.problem, visit.total).residual()
    value = trees.detached(residual.value)
    start = trees.detached({n: x.clone() for n, x in residual.params.items()})
    size = float(trees.norm(value))
    if not value:
        return _Newton({}, {}, merit, 0.0, 0.0, True)
    if not size < inf or not abs(merit) < inf:
        return _Newton(start, value, merit, -inf, size, False)
    if has_field(problem):
        return _Newton(start, _root_step(residual, value), merit, -size, size, True)
    direction, convex = _descent(residual, value)
    slope = float(trees.dot(value, direction))
    return _Newton(start, direction, merit, slope, size, convex)


def _advance(program: Program, visit: Visit, step: _Newton) -> bool:
    """Go along a step until the merit is less; where it never is, go back."""
    params = program.problems[visit.problem].model.params
    slack = 4.0 * torch.finfo(torch.float64).eps * abs(step.merit)
    factor = 1.0
    for _ in range(_MOST_HALVINGS):
        move(params, trees.axpy(factor, step.direction, step.start))
        if _merit(program, visit) <= step.merit + 1e-4 * factor * step.slope + slack:
            return True
        factor *= 0.5
    move(params, step.start)
    return False


def _merit(program: Program, visit: Visit) -> float:
    """The loss of a problem, or ‖Φ‖ of one that descends a field, all that answers at rest."""
    problem = program.problems[visit.problem]
    if visit.total:
        settle(program, visit.problem)
    if has_field(problem):
        condition = Adjoints(program).condition(visit.problem, visit.total)
        return float(trees.norm(trees.detached(condition.residual().value)))
    return _loss(problem)


def _loss(problem: Problem) -> float:
    moment = problem.moment or problem.next_moment()
    with torch.no_grad(), moment.random.replayed(problem.device):
        return float(problem.evaluate(problem.views(), moment).loss)


def has_field(problem: Problem) -> bool:
    """Whether a problem descends a field in place of a gradient."""
    moment = problem.moment or problem.next_moment()
    with moment.random.replayed(problem.device):
        return problem.evaluate(problem.views(), moment).field is not None


def _descent(residual: Residual, value: Vector) -> tuple[Vector, bool]:
    """A direction in which the loss falls: −H⁻¹Φ where H is positive; and whether it is."""
    if trees.flatten(value).numel() <= _DENSE:
        return _dense_descent(residual, value)
    downhill = trees.scale(-1.0, value)
    found = linear.cg(residual.vjp, downhill, iterations=_PRODUCTS, tol=1e-4)
    convex = found.status is not Status.NEGATIVE_CURVATURE
    if any(bool(x.any()) for x in found.value.values()):
        return found.value, convex
    # As far as the curvature along it would allow, if it were positive.
    bend = float(trees.norm(residual.vjp(value)))
    size = float(trees.norm(value))
    return trees.scale(size / bend if bend else 1.0, downhill), convex


def _dense_descent(residual: Residual, value: Vector) -> tuple[Vector, bool]:
    """−|H|⁻¹Φ, with |H| the Hessian with the signs of its eigenvalues dropped."""
    H = dense(residual, value)
    eigen = torch.linalg.eigh(0.5 * (H + H.T))
    largest = float(eigen.eigenvalues.abs().max())
    if largest == 0.0:
        return trees.scale(-1.0, value), True
    sizes = eigen.eigenvalues.abs().clamp(min=1e-10 * largest)
    flat = eigen.eigenvectors @ ((eigen.eigenvectors.T @ trees.flatten(value)) / sizes)
    convex = float(eigen.eigenvalues.min()) > -1e-8 * largest
    return trees.unflatten(-flat, value), convex


def _root_step(residual: Residual, value: Vector) -> Vector:
    """−J⁻¹Φ for a Jacobian that need not be symmetric."""
    if trees.flatten(value).numel() <= _DENSE:
        J = dense(residual, value).T
        right = -trees.flatten(value)[:, None]
        return trees.unflatten(torch.linalg.lstsq(J, right).solution[:, 0], value)
    downhill = trees.scale(-1.0, value)
    return linear.gmres(residual.jvp, downhill, iterations=_PRODUCTS, restart=50, tol=1e-4).value


def dense(residual: Residual, like: Vector) -> Tensor:
    """(∂Φ/∂θ)ᵀ written out: one product a parameter."""
    units = torch.eye(trees.flatten(like).numel()).to(trees.flatten(like))
    rows = [trees.flatten(residual.vjp(trees.unflatten(unit, like))) for unit in units]
    return torch.stack(rows, dim=1)


def move(params: Mapping[str, Tensor], values: Mapping[str, Tensor]) -> None:
    """Give parameters these numbers."""
    with torch.no_grad():
        for name, value in values.items():
            params[name].copy_(value)
