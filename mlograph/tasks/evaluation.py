"""The loss of several tasks at once: the only place where one is vmapped.

Derivatives are taken outside. With an affine BatchNorm in training mode, autograd over
vmap(grad(loss)) gives second derivatives that are wrong by a tenth (torch 2.13); autograd, twice,
over vmap(loss) gives the right ones.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mlograph.model import Model
from mlograph.problem import Moment, Problem, Term
from mlograph.randomness import RandomState
from mlograph.tasks.drawing import Stack
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.trees import Vector
from mlograph.views import View

# Parameters and buffers.
Tensors = tuple[Vector, Vector]


@dataclass(frozen=True)
class Each:
    """Losses and metrics, each (tasks,)."""

    loss: Tensor
    metrics: Mapping[str, Tensor]


@dataclass(frozen=True)
class Occasion:
    """What a loss of several tasks is evaluated on, so that it can be evaluated on it again.

    Attributes:
        data: the batches.
        step: updates that the problem had made.
        random: torch's random state just before.
    """

    data: Stack
    step: int
    random: RandomState


def evaluate(
    problem: Problem,
    lower: str,
    params: Vector,
    buffers: Vector,
    occasion: Occasion,
    terms: Iterable[Term] | None = None,
) -> Each:
    """The loss of `problem`, with a `lower` problem of its own for each task.

    Args:
        problem: whose loss it is: the lower one itself, or one above.
        lower: whose parameters differ from task to task.
        params: these, with an axis of tasks.
        buffers: of the lower problem, with an axis of tasks; calls may change them.
        occasion: batches, step and random numbers.
        terms: of the loss; all by default.

    Raises:
        NotAtOnceError: the loss is no plain scalar of each task.
        UsageError: it failed.
    """
    models: dict[str, Model] = {**problem.others, problem.name: problem.model}
    own = models.pop(lower)
    tasks = len(next(iter(params.values())))
    shared = {name: _expanded(model, tasks) for name, model in models.items()}
    chosen = None if terms is None else tuple(terms)

    def one(
        params: Vector, buffers: Vector, others: dict[str, Tensors], leaves: dict[int, Tensor]
    ) -> tuple[Tensor, Vector]:
        views: dict[str, View] = {lower: own.at(params, buffers)}
        for name, (tensors, state) in others.items():
            views[name] = _SharedView(models[name].at({}, state), tensors)
        moment = Moment(occasion.data.batch(leaves), occasion.step, occasion.random)
        found = problem.evaluate(views, moment, chosen)
        if found.field is not None:
            raise NotAtOnceError(f"the loss of '{problem.name}' gives a field")
        return found.loss, dict(found.metrics)

    with torch.enable_grad():
        mapped = torch.vmap(one, in_dims=0, randomness="different")
        losses, metrics = mapped(params, buffers, shared, dict(occasion.data.leaves))
    return Each(losses, metrics)


@dataclass(frozen=True)
class _SharedView:
    """A problem that is the same for all tasks; implements `views.View`.

    Its module is called with the parameters as they are: one product serves all tasks. Its
    parameters are given to each task for itself: some of torch's operations are less careful with
    an operand of one task and another of all.
    """

    view: View
    tensors: Vector

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the module's `forward` gives."""
        return self.view(*args, **kwargs)

    def parameters(self) -> tuple[Tensor, ...]:
        """The parameters, in the module's order."""
        return tuple(self.tensors.values())

    def named_parameters(self) -> Mapping[str, Tensor]:
        """The parameters by the names that the module gives them."""
        return self.tensors

    def buffers(self) -> Mapping[str, Tensor]:
        """The buffers by name."""
        return self.view.buffers()


def _expanded(model: Model, tasks: int) -> Tensors:
    """All parameters and copies of all buffers, with an axis of tasks."""
    params = {n: x.expand(tasks, *x.shape) for n, x in model.live().named_parameters().items()}
    buffers = {n: x.detach().expand(tasks, *x.shape).clone() for n, x in model.buffers.items()}
    return params, buffers
