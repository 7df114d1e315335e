"""The inner loops of several tasks, step by step at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import Protocol, final

import torch
from torch import Tensor
from torch.optim import Optimizer

from mlograph import trees
from mlograph.model import Model
from mlograph.optimizers import (
    OptimizerState,
    copy_options,
    differentiable_step,
    read_options,
    read_state,
    twin,
)
from mlograph.problem import Moment, Problem, gradients
from mlograph.randomness import RandomState
from mlograph.tasks.drawing import Stacker
from mlograph.tasks.evaluation import Each, Occasion, evaluate
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.trees import Vector


@dataclass(frozen=True)
class Measured:
    """What was measured, by name: one tensor (tasks,) for each time, in order."""

    values: dict[str, list[Tensor]] = field(default_factory=dict)

    def add(self, name: str, value: Tensor) -> None:
        """One more number of each task."""
        self.values.setdefault(name, []).append(value.detach())

    def add_loss(self, each: Each) -> None:
        """A loss and its metrics."""
        self.add("loss", each.loss)
        for name, value in each.metrics.items():
            self.add(name, value)


@dataclass(frozen=True)
class Ended:
    """Where the loops of several tasks ended.

    Attributes:
        params: θ_T, with an axis of tasks; with the graph of the loop, if it was asked for.
        buffers: as the last step left them, with an axis of tasks.
        state: the optimiser's, by parameter; tensors of a parameter's shape have an axis of tasks.
        last: what the loss was evaluated on in the last pass.
        measured: in the loop.
    """

    params: Vector
    buffers: Vector
    state: OptimizerState
    last: Occasion
    measured: Measured


class _Stepper(Protocol):
    """Where the loops stand, and how they move on."""

    params: Vector

    def step(self, gradient: Vector) -> None:
        """One update."""
        ...

    @property
    def state(self) -> OptimizerState:
        """The optimiser's."""
        ...


@final
class _Ordinary:
    """torch's own optimiser, in place on the stacked parameters."""

    def __init__(self, problem: Problem, start: Vector) -> None:
        self._problem = problem
        self.params = {n: x.detach().clone().requires_grad_() for n, x in start.items()}
        self._optimizer: Optimizer = twin(problem.optimizer, problem.model.params, self.params)

    def step(self, gradient: Vector) -> None:
        """One update."""
        copy_options(self._problem.optimizer, self._optimizer)
        for name, x in gradient.items():
            self.params[name].grad = x.detach()
        self._optimizer.step()
        for param in self.params.values():
            param.grad = None

    @property
    def state(self) -> OptimizerState:
        """The optimiser's."""
        return read_state(self._optimizer, self.params)


@final
class _Differentiable:
    """Steps with a graph; with `last`, of so many last steps out of `total`."""

    def __init__(self, problem: Problem, start: Vector, total: int, last: int | None) -> None:
        self._problem = problem
        self._without = 0 if last is None else max(0, total - last)
        self._made = 0
        self.params = start if not self._without else _leaves(start)
        self.state: OptimizerState = {}

    def step(self, gradient: Vector) -> None:
        """One update."""
        graph = self._made >= self._without
        with torch.set_grad_enabled(graph):
            done = differentiable_step(
                self._problem.optimizer,
                self._problem.model.params,
                self.params,
                self.state,
                gradient,
                read_options(self._problem.optimizer),
            )
        self.params, self.state = done.params, done.state
        self._made += 1
        if not graph:
            self.params = _leaves(self.params)


def run_loops(
    problem: Problem,
    origin: Model,
    loops: Sequence[Sequence[Moment]],
    stacker: Stacker,
    *,
    graph: bool,
    last: int | None = None,
) -> Ended:
    """The inner loop of a problem, for several tasks at once.

    The problem itself is left at the start of its loop, its scheduler at the end.

    Args:
        problem: whose loop it is.
        origin: where every loop starts.
        loops: for each task, what the passes are made on.
        stacker: of batches.
        graph: the result shall depend on `origin` and on what the losses read.
        last: through so many last steps only.

    Raises:
        NotAtOnceError: see `evaluate`.
        UsageError: the loss failed.
    """
    _restart(problem, origin)
    tasks, passes = len(loops), problem.spec.gradient_accumulation
    updates = len(loops[0]) // passes
    start = _start(problem, origin, tasks, graph=graph)
    stepper: _Stepper = (
        _Differentiable(problem, start, updates, last) if graph else _Ordinary(problem, start)
    )
    loop = _Loop(problem, stepper, _stacked(problem.model.buffers, tasks), stacker)
    columns = [*zip(*loops, strict=True)]
    for update in range(updates):
        differentiable = graph and (last is None or update >= updates - last)
        loop.update(columns[update * passes : (update + 1) * passes], graph=differentiable)
    assert loop.last is not None, "a loop makes a step at least"
    return Ended(stepper.params, loop.buffers, stepper.state, loop.last, loop.measured)


@final
class _Loop:
    """The loops of several tasks on their way."""

    def __init__(
        self, problem: Problem, stepper: _Stepper, buffers: Vector, stacker: Stacker
    ) -> None:
        self._problem = problem
        self._stepper = stepper
        self._stacker = stacker
        self.buffers = buffers
        self.measured = Measured()
        self.last: Occasion | None = None

    def update(self, passes: Sequence[Sequence[Moment]], *, graph: bool) -> None:
        """One update along the mean gradient of some passes, clipped for each task."""
        gradient: Vector = {}
        for column in passes:
            own = trees.scale(1.0 / len(passes), self._slopes(column, graph=graph))
            gradient = trees.merge(gradient, own)
        if not gradient:
            raise NotAtOnceError(f"the loss of '{self._problem.name}' moves nothing")
        size = trees.norm_each(gradient)
        self.measured.add("gradient_norm", size)
        largest = self._problem.spec.gradient_clipping
        if largest is not None:
            gradient = trees.scale_each((largest / (size + 1e-6)).clamp(max=1.0), gradient)
        self._stepper.step(gradient)
        self._problem.learning_rate.step(nan)

    def _slopes(self, column: Sequence[Moment], *, graph: bool) -> Vector:
        problem, params = self._problem, self._stepper.params
        random = RandomState.capture(problem.device)
        data = self._stacker.stack([one.batch for one in column])
        self.last = Occasion(data, column[0].step, random)
        each = evaluate(problem, problem.name, params, self.buffers, self.last)
        self.measured.add_loss(each)
        return gradients(each.loss.sum(), params, create_graph=graph)


def _restart(problem: Problem, origin: Model) -> None:
    problem.model.copy_from(origin)
    problem.optimizer.state.clear()
    problem.learning_rate.restart()


def _start(problem: Problem, origin: Model, tasks: int, *, graph: bool) -> Vector:
    """θ_0 for each task; with a graph, as a function of the parameters it is copied from."""
    found: Vector = {}
    for name, param in problem.model.params.items():
        source = origin.params.get(name, param) if graph else param
        begun = source.to(param.dtype) if source is not param else param.detach()
        found[name] = begun.expand(tasks, *param.shape).clone()
    if graph:
        return {n: x if x.requires_grad else x.requires_grad_() for n, x in found.items()}
    return found


def _stacked(tensors: Mapping[str, Tensor], tasks: int) -> Vector:
    return {
        name: x.detach().expand(tasks, *x.shape).clone(memory_format=torch.contiguous_format)
        for name, x in tensors.items()
    }


def _leaves(params: Vector) -> Vector:
    return {name: x.detach().requires_grad_() for name, x in params.items()}
