"""One inner loop, recorded as it runs, so that it can be differentiated from end to start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import torch

from mlograph import trees
from mlograph.optimizers import differentiable_step, read_state, write_state
from mlograph.problem import Evaluation, Problem, clipped, gradients
from mlograph.trees import Vector
from mlograph.views import View


@final
class Recording:
    """θ_T as a function of what the loop started from and of all that its losses read.

    The problem's own parameters follow each step, without a graph. The leaves are copies of what
    the losses read, since an optimiser may move the originals before the loop is differentiated:
    one copy of each upper problem, which stands still during the loop, and one of each lower
    problem for every pass.
    """

    def __init__(self, problem: Problem, below: frozenset[str]) -> None:
        self._problem = problem
        self._below = below
        self._leaves: dict[str, list[Vector]] = {
            name: [] if name in below else [_leaves(model.params)]
            for name, model in problem.others.items()
        }
        start = problem.spec.start_from
        origin = {} if start is None else self._leaves[start][0]
        # What is frozen in the origin has been copied, but the origin does not move it.
        self._params: Vector = {
            name: origin[name].clone() if name in origin else own.detach().clone().requires_grad_()
            for name, own in problem.model.params.items()
        }
        self._state = read_state(problem.optimizer, problem.model.params)
        self._gradient: Vector = {}

    def views(self) -> dict[str, View]:
        """Views for the next pass: own parameters with their graph, buffers updated for real."""
        own = self._problem.model.at(self._params, keep_buffers=True)
        replaced: dict[str, View] = {self._problem.name: own}
        for name, model in self._problem.others.items():
            if name in self._below:
                self._leaves[name].append(_leaves(model.params))
            replaced[name] = model.at(self._leaves[name][-1])
        return self._problem.views(replaced)

    def differentiate(self, evaluation: Evaluation) -> tuple[Vector, dict[str, Vector]]:
        """∂L/∂θ_t with its graph, and ∂L of the copies of lower problems just read."""
        gradient = gradients(evaluation.loss, self._params, create_graph=True)
        lower = {
            name: gradients(evaluation.loss, copies[-1], keep=True)
            for name, copies in self._leaves.items()
            if name in self._below
        }
        return gradient, lower

    def accumulate(self, gradient: Vector) -> None:
        """Add a share of the gradient of the coming update."""
        self._gradient = trees.merge(self._gradient, gradient)

    def drop(self) -> None:
        """Forget what was accumulated: the update is skipped."""
        self._gradient = {}

    def update(self) -> None:
        """One step of the optimiser; the problem's own parameters and state follow it."""
        problem = self._problem
        gradient = clipped(self._gradient, problem.spec.gradient_clipping)
        done = differentiable_step(
            problem.optimizer, problem.model.params, self._params, self._state, gradient
        )
        self._params, self._state, self._gradient = done.params, done.state, {}
        write_state(problem.optimizer, problem.model.params, done.state)
        with torch.no_grad():
            for name, param in problem.model.params.items():
                param.copy_(done.params[name])

    def pull(self, adjoint: Vector, targets: tuple[str, ...]) -> dict[str, Vector]:
        """(dθ_T/dtarget)ᵀ · adjoint for every target."""
        leaves = [(t, copies) for t in targets for copies in self._leaves[t]]
        names = [n for n in adjoint if self._params[n].requires_grad]
        sent: dict[str, Vector] = {target: {} for target in targets}
        wrt = [tensor for _, copies in leaves for tensor in copies.values()]
        if not names or not wrt:
            return sent
        found = torch.autograd.grad(
            [self._params[name] for name in names],
            wrt,
            [adjoint[name] for name in names],
            retain_graph=True,
            allow_unused=True,
        )
        pulled = iter(found)
        for target, copies in leaves:
            share = {name: grad for name in copies if (grad := next(pulled)) is not None}
            sent[target] = trees.merge(sent[target], share)
        return sent


def _leaves(params: Vector) -> Vector:
    return {name: param.detach().clone().requires_grad_() for name, param in params.items()}


def detached(vector: Mapping[str, torch.Tensor]) -> Vector:
    """The same numbers without a graph."""
    return {name: tensor.detach() for name, tensor in vector.items()}
