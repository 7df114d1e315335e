"""Hypergradients through the loops of several tasks at once.

Each method is that of `hypergradients`, with an axis of tasks on all that belongs to the lower
problem. The parameters of the upper one have none, so that what comes back to them is a sum.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch

from mlograph import trees
from mlograph.language import methods
from mlograph.linear import MatVec
from mlograph.optimizers import rates
from mlograph.problem import Problem, gradients
from mlograph.residual import Residual, filled
from mlograph.tasks.evaluation import evaluate
from mlograph.tasks.loop import Ended
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.tasks.solvers import Solutions, cg, dense, neumann, scaled
from mlograph.trees import Vector


@dataclass(frozen=True)
class Response:
    """The solutions z_t* of a lower problem for several tasks, as functions of an upper one's θ.

    Attributes:
        lower: the problem.
        upper: the one above.
        ended: z_t*, and how the loops came there.
    """

    lower: Problem
    upper: Problem
    ended: Ended

    @property
    def targets(self) -> Vector:
        """The parameters of the upper problem."""
        return self.upper.model.params


@dataclass(frozen=True)
class Pulled:
    """Σ_t (dz_t*/dθ)ᵀ v_t, and how the linear systems that it took were solved."""

    sent: Vector
    solutions: Solutions | None = None


def pull(response: Response, adjoint: Vector) -> Pulled:
    """Pull v_t back to the upper problem by the lower problem's method.

    Raises:
        NotAtOnceError: something else must be done for some task.
    """
    match response.lower.spec.hypergradient:
        case methods.Unroll():
            return Pulled(_through_steps(response, adjoint))
        case methods.FirstOrder():
            return Pulled(_to_start(response, adjoint))
        case methods.Darts() as method:
            return Pulled(
                _by_differences(response, _scaled(response, adjoint, method.scale), method)
            )
        case method:
            return _implicit(response, adjoint, _solver(response, method))


Solver = Callable[[MatVec, Vector], Solutions]


def _solver(response: Response, method: methods.Method) -> Solver:
    match method:
        case methods.ConjugateGradient(iterations=most, tol=tol, damping=damping):
            return lambda A, b: cg(_damped(A, damping), b, iterations=most, tol=tol)
        case methods.Neumann(iterations=most, tol=tol, damping=damping, alpha=alpha):
            return lambda A, b: neumann(
                _damped(A, damping), b, iterations=most, alpha=alpha, tol=tol
            )
        case methods.Exact(damping=damping):
            return lambda A, b: dense(_damped(A, damping), b)
        case methods.Identity(scale=scale):
            return lambda A, b: scaled(_scaled(response, b, scale))
        case _:
            raise AssertionError("windows have methods that take several tasks at once")


def _damped(matvec: MatVec, damping: float) -> MatVec:
    return (lambda x: trees.axpy(damping, x, matvec(x))) if damping else matvec


def _scaled(response: Response, vector: Vector, scale: float | Literal["lr", "one"]) -> Vector:
    scales = rates(response.lower.optimizer, response.lower.model.params, scale)
    return {name: scales[name] * x for name, x in vector.items()}


def _through_steps(response: Response, adjoint: Vector) -> Vector:
    outputs = {n: x for n, x in response.ended.params.items() if n in adjoint and x.grad_fn}
    if not outputs:
        return {}
    found = torch.autograd.grad(
        [*outputs.values()],
        [*response.targets.values()],
        [adjoint[name] for name in outputs],
        allow_unused=True,
    )
    return {n: x for n, x in zip(response.targets, found, strict=True) if x is not None}


def _to_start(response: Response, adjoint: Vector) -> Vector:
    return {name: x.sum(0) for name, x in adjoint.items() if name in response.targets}


def _implicit(response: Response, adjoint: Vector, solve: Solver) -> Pulled:
    lower, ended, name = response.lower, response.ended, response.upper.name
    params = {n: x.detach().requires_grad_() for n, x in ended.params.items()}
    with ended.last.random.replayed(lower.device):
        each = evaluate(lower, lower.name, params, _copied(ended.buffers), ended.last)
    value = gradients(each.loss.sum(), params, create_graph=True)
    if not value:
        return Pulled({})
    residual = Residual(value, {n: params[n] for n in value}, {name: response.targets})
    known = {n: x for n, x in adjoint.items() if n in value}
    with torch.no_grad():
        solutions = solve(residual.vjp, filled(known, residual.params))
        crossed = residual.cross(solutions.value, [name])[name]
        return Pulled(trees.scale(-1.0, crossed), solutions)


def _by_differences(response: Response, direction: Vector, method: methods.Darts) -> Vector:
    """−Σ_t (∂_u L_t(θ_t + h_t w_t) − ∂_u L_t(θ_t − h_t w_t)) / 2h_t, with h_t = epsilon/‖w_t‖."""
    lower, ended = response.lower, response.ended
    terms = lower.terms_reading((response.upper.name,))
    if not terms:
        raise NotAtOnceError(f"no term of the loss of '{lower.name}' reads '{response.upper.name}'")
    size = trees.norm_each(direction)
    step = torch.where(size > 0, method.epsilon / size, 0.0)
    weights = torch.where(size > 0, 0.5 / step, 0.0)
    sent: list[Vector] = []
    for side in (step, -step):
        params = ended.params | trees.axpy_each(
            side, direction, {name: ended.params[name].detach() for name in direction}
        )
        with ended.last.random.replayed(lower.device), torch.enable_grad():
            buffers = _copied(ended.buffers)
            each = evaluate(lower, lower.name, params, buffers, ended.last, terms)
            sent.append(gradients((weights * each.loss).sum(), response.targets))
    ahead, behind = sent
    return trees.axpy(-1.0, ahead, behind)


def _copied(buffers: Vector) -> Vector:
    return {name: x.clone() for name, x in buffers.items()}
