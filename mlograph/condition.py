"""The optimality condition of a lower problem, differentiable any number of times.

A problem k that constrains problems below it rests where its *total* gradient vanishes,

    Φ_k(θ_k, u) = d/dθ_k L_k(θ_k, z(θ_k, u), u) = 0,

with z the solutions of the problems that answer to it; a field that its loss gives stands in the
place of the gradient, where nothing answers. Each such solution stands in the loss as an
autograd node whose derivative is that of the implicit function theorem, and so does the solution w
of the linear system that this takes:

    dz/dt = −(∂_zΦ)⁻¹ ∂_tΦ,        Jᵀ w = v   →   dw = J⁻ᵀ (dv − dJᵀ w).

The derivatives are made of such nodes again, so that any depth of nesting comes out right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from mlograph import trees
from mlograph.fields import check_answers
from mlograph.linear import Solution, System
from mlograph.model import Model
from mlograph.problem import Moment, Problem, gradients, own_gradient
from mlograph.residual import Residual, depends_on
from mlograph.trees import Vector

Solve = Callable[[System, Vector], Solution]


@dataclass(frozen=True)
class Condition:
    """Φ = dL/dθ of a problem, through the solutions of the problems that answer to it.

    Attributes:
        problem: whose condition it is.
        moment: what its loss is evaluated on.
        answers: the problems that answer to it, each after those that it depends on.
    """

    problem: Problem
    moment: Moment
    answers: tuple[Answer, ...] = ()

    @cached_property
    def inputs(self) -> Mapping[str, Model]:
        """The problems that Φ depends on, beside its own."""
        found = dict(self.problem.others)
        for answer in self.answers:
            found.update(answer.condition.inputs)
        eliminated = {answer.name for answer in self.answers} | {self.problem.name}
        return {name: model for name, model in found.items() if name not in eliminated}

    def residual(self) -> Residual:
        """Φ where all problems stand, recorded so that it can be differentiated."""
        if not self.answers:
            return self.problem.residual(self.moment)
        own = self.problem.model.params
        reads = {name: model.params for name, model in self.inputs.items()}
        value = self.at(own, reads)
        return Residual(value, {name: own[name] for name in value}, reads)

    def dead_edges(self) -> Iterator[tuple[str, str]]:
        """(other, problem) of every edge without an effect, here or in what answers to it.

        An edge has an effect if the derivatives of the problem's loss, by its own parameters or by
        the solutions that answer to it, depend on what is read.
        """
        problem, answering = self.problem, {answer.name for answer in self.answers}
        models = {problem.name: problem.model, **problem.others}
        with self.moment.random.replayed(problem.device):
            evaluation = problem.evaluate(problem.views(), self.moment)
        moving = {
            f"{name}.{key}": param
            for name in (problem.name, *(answering & models.keys()))
            for key, param in models[name].params.items()
        }
        field = {f"{problem.name}.{key}": x for key, x in (evaluation.field or {}).items()}
        slopes = trees.merge(gradients(evaluation.loss, moving, create_graph=True), field)
        for other in problem.others.keys() - answering:
            if not depends_on(slopes, models[other].params):
                yield other, problem.name
        for answer in self.answers:
            yield from answer.condition.dead_edges()

    def at(self, own: Vector, reads: Mapping[str, Vector]) -> Vector:
        """Φ(own, reads) with its graph, without the parameters that the loss never touches."""
        problem = self.problem
        tensors = {**reads, problem.name: own}
        models = {problem.name: problem.model, **problem.others}
        # Also within the last backward pass of all, which is itself not to be differentiated.
        with torch.enable_grad(), self.moment.random.replayed(problem.device):
            for answer in self.answers:
                tensors[answer.name] = answer.solution(tensors)
            views = {name: model.at(tensors[name]) for name, model in models.items()}
            evaluation = problem.evaluate(views, self.moment)
            check_answers(problem, evaluation, [answer.name for answer in self.answers])
            return own_gradient(evaluation, own, create_graph=True)


@dataclass(frozen=True)
class Answer:
    """The solution of a problem as a differentiable function of all that its condition reads.

    Attributes:
        condition: what holds at the solution.
        solve: how its method solves linear systems.
    """

    condition: Condition
    solve: Solve

    @property
    def name(self) -> str:
        """The problem that answers."""
        return self.condition.problem.name

    def solution(self, tensors: Mapping[str, Vector]) -> Vector:
        """z, standing where the problem stands; `tensors`: parameters by problem."""
        inputs = [x for name in self.condition.inputs for x in tensors[name].values()]
        found = _Solution.apply(self, *inputs)  # type: ignore[no-untyped-call]
        return dict(zip(self._own, found, strict=True))

    @property
    def _own(self) -> Vector:
        return self.condition.problem.model.params

    def residual(self, tensors: tuple[Tensor, ...]) -> Residual:
        """Φ at the solution and the inputs, given as one flat row of tensors."""
        pending = iter(tensors)
        own = {name: next(pending) for name in self._own}
        reads = {
            name: {key: next(pending) for key in model.params}
            for name, model in self.condition.inputs.items()
        }
        value = self.condition.at(own, reads)
        return Residual(value, {name: own[name] for name in value}, reads)


class _Solution(torch.autograd.Function):
    """inputs → z, whose backward pass is −(∂_inputs Φ)ᵀ J⁻ᵀ v."""

    @staticmethod
    def forward(ctx: Any, answer: Answer, *inputs: Tensor) -> tuple[Tensor, ...]:
        own = tuple(x.detach().clone() for x in answer.condition.problem.model.params.values())
        ctx.answer = answer
        ctx.save_for_backward(*own, *inputs)
        return own

    @staticmethod
    def backward(ctx: Any, *adjoint: Tensor) -> tuple[Tensor | None, ...]:
        answer: Answer = ctx.answer
        differentiably = torch.is_grad_enabled()
        tensors = _aliases(ctx.saved_tensors)
        residual = answer.residual(tensors)
        names = list(answer.condition.problem.model.params)
        v = [x for name, x in zip(names, adjoint, strict=True) if name in residual.value]
        w = _Inverse.apply(answer, False, len(v), *v, *tensors)  # type: ignore[no-untyped-call]
        sent = torch.autograd.grad(
            list(residual.value.values()),
            tensors[len(names) :],
            [-x for x in w],
            create_graph=differentiably,
            allow_unused=True,
        )
        return (None, *sent)


class _Inverse(torch.autograd.Function):
    """(v, tensors) → w with Jᵀ w = v, or with J w = v if `forwards`."""

    @staticmethod
    def forward(
        ctx: Any, answer: Answer, forwards: bool, count: int, *tensors: Tensor
    ) -> tuple[Tensor, ...]:
        with torch.enable_grad():
            residual = answer.residual(tuple(x.detach().requires_grad_() for x in tensors[count:]))
        system = System(residual.vjp, residual.jvp)
        v = dict(zip(residual.value, tensors[:count], strict=True))
        solution = answer.solve(system.transposed if forwards else system, v)
        w = tuple(solution.value.values())
        ctx.answer, ctx.forwards, ctx.count = answer, forwards, count
        ctx.save_for_backward(*w, *tensors[count:])
        return w

    @staticmethod
    def backward(ctx: Any, *adjoint: Tensor) -> tuple[Tensor | None, ...]:
        answer, forwards, count = ctx.answer, ctx.forwards, ctx.count
        differentiably = torch.is_grad_enabled()
        # From the saved tensors themselves: y must not depend on what the product is derived by.
        y = _Inverse.apply(answer, not forwards, count, *adjoint, *ctx.saved_tensors[count:])  # type: ignore[no-untyped-call]
        saved = _aliases(ctx.saved_tensors)
        w, tensors = saved[:count], saved[count:]
        residual = answer.residual(tensors)
        left, right = (y, w) if forwards else (w, y)
        with torch.enable_grad():
            rows = torch.autograd.grad(
                list(residual.value.values()),
                list(residual.params.values()),
                list(left),
                create_graph=True,
                allow_unused=True,
            )
            pairs = zip(rows, right, strict=True)
            products = [(row * x).sum() for row, x in pairs if row is not None]
            product = torch.stack(products).sum() if products else torch.zeros(())
            found: tuple[Tensor | None, ...] = (None,) * len(tensors)
            if product.requires_grad:
                found = torch.autograd.grad(
                    product, tensors, create_graph=differentiably, allow_unused=True
                )
        moved = (None if x is None else -x for x in found)
        return (None, None, None, *y, *moved)


def _aliases(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The same tensors under new nodes: derivatives with respect to them stop there.

    Among saved tensors are outputs that depend on the saved inputs, which must not count here.
    """
    with torch.enable_grad():
        return tuple(
            x.view_as(x) if x.requires_grad else x.detach().requires_grad_() for x in tensors
        )
