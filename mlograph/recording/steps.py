"""One step of an inner loop as a map (θ, s, reads) → (θ', s'): made as it happens, or made again.

θ are the trainable parameters, s is the state of the optimiser, and the reads are the parameters of
the other problems that the loss looks at. The map goes through the gradients of all passes, through
clipping, and through torch's own update; a random number, a batch and a learning rate are constants
of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, final

import torch
from torch import Tensor

from mlograph import hyperparameters, trees
from mlograph.model import Model
from mlograph.optimizers import (
    GroupOptions,
    Learned,
    OptimizerState,
    differentiable_step,
    read_options,
    read_state,
)
from mlograph.problem import Evaluation, Moment, Problem, clipped, gradients, with_field
from mlograph.recording.link import Link, carried, differentiable
from mlograph.trees import Vector
from mlograph.views import View


@dataclass(frozen=True)
class Point:
    """Where a loop stands: θ and s, without a graph."""

    params: Vector
    state: OptimizerState

    @classmethod
    def of(cls, problem: Problem) -> Point:
        """A copy of where a problem stands."""
        params = problem.model.params
        state = read_state(problem.optimizer, params)
        return cls(copied(params), {name: _copied_entries(one) for name, one in state.items()})


@dataclass(frozen=True)
class Read:
    """Another problem as a loss read it: copies of its parameters and buffers."""

    params: Vector
    buffers: Vector

    @classmethod
    def of(cls, model: Model) -> Read:
        """A problem's model as it is now."""
        return cls(copied(model.params), copied(model.buffers))


@dataclass(frozen=True)
class Pass:
    """What one evaluation of the loss was a function of, beside the step's own.

    Attributes:
        moment: batch, step and random numbers.
        buffers: the problem's own, as they were before.
        lower: the problems below, which move between passes.
        sent: what came back from them: a part of the gradient that counts as a constant.
    """

    moment: Moment
    buffers: Vector
    lower: Mapping[str, Read]
    sent: Vector = field(default_factory=dict)


@dataclass(frozen=True)
class Record:
    """What one step was a function of, beside the point that it began at and the problems above.

    Attributes:
        passes: one for each share of its gradient.
        options: of the optimiser's groups, as a scheduler had left them.
    """

    passes: tuple[Pass, ...]
    options: GroupOptions


@dataclass(frozen=True)
class Made:
    """A step that has been made.

    Attributes:
        begin: where it began.
        record: what it was a function of.
        end: where it led to.
        link: its graph, where it was made with one.
    """

    begin: Point
    record: Record
    end: Point
    link: Link | None


@final
class Making:
    """A step in the making: its passes one by one, then the update.

    Args:
        problem: whose step it is.
        begin: where it begins.
        uppers: the problems above, which stand still.
        passes: how many there will be; the gradient is their mean.
        graph: the step shall be differentiable.
    """

    def __init__(
        self,
        problem: Problem,
        begin: Point,
        uppers: Mapping[str, Read],
        *,
        passes: int,
        graph: bool,
    ) -> None:
        self._problem = problem
        self._share = 1.0 / passes
        self._begin = begin
        self._uppers = uppers
        self._graph = graph
        self._params = _leaves(begin.params)
        self._state = differentiable(begin.state) if graph else begin.state
        self._reads = {name: [_leaves(r.params, graph)] for name, r in uppers.items()}
        self._passes: list[Pass] = []
        self._gradient: Vector = {}

    @property
    def passes(self) -> tuple[Pass, ...]:
        """Those that were accumulated."""
        return tuple(self._passes)

    def evaluate(
        self, one: Pass, buffers: Vector, lower: Iterable[str] = ()
    ) -> tuple[Evaluation, Vector, dict[str, Vector]]:
        """The loss of a pass, its own gradient, and ∂L of the problems `lower` as it read them.

        The problem's own `buffers` may change.
        """
        problem = self._problem
        views = {problem.name: problem.model.at(self._params, buffers)}
        for name, model in problem.others.items():
            if name in one.lower:
                self._reads.setdefault(name, []).append(_leaves(one.lower[name].params))
            read = one.lower.get(name) or self._uppers[name]
            views[name] = model.at(self._reads[name][-1], copied(read.buffers))
        wanted = {problem.name: self._params, **{n: self._reads[n][-1] for n in lower}}
        with torch.enable_grad():
            if self._graph:
                evaluation, slopes = _recorded(problem, views, one.moment, wanted)
            else:
                evaluation, slopes = problem.slopes(views, one.moment, wanted)
            own = with_field(slopes.pop(problem.name), evaluation, create_graph=self._graph)
        return evaluation, own, slopes

    def accumulate(self, one: Pass, own: Vector) -> None:
        """Add a pass with its own gradient to the coming update."""
        self._passes.append(one)
        with torch.set_grad_enabled(self._graph):
            gradient = trees.merge(own, one.sent)
            if self._share != 1.0:
                gradient = trees.scale(self._share, gradient)
            self._gradient = trees.merge(self._gradient, gradient)

    def repeat(self, one: Pass) -> None:
        """A pass that was made before, on buffers as they were then; leaves no trace in them."""
        _, own, _ = self.evaluate(one, copied(one.buffers))
        self.accumulate(one, own)

    def size(self) -> Tensor:
        """‖gradient‖ of what was accumulated, without a graph."""
        with torch.no_grad():
            return trees.norm(self._gradient)

    def update(self, options: GroupOptions) -> Made:
        """One step of the optimiser along what was accumulated."""
        problem, params = self._problem, self._params
        with torch.set_grad_enabled(self._graph):
            done = differentiable_step(
                problem.optimizer,
                problem.model.params,
                params if self._graph else self._begin.params,
                self._state,
                clipped(self._gradient, problem.spec.gradient_clipping),
                options,
                self._learned(),
            )
        end = Point(trees.detached(done.params), _detached(done.state))
        record = Record(tuple(self._passes), options)
        link = None
        if self._graph:
            reads = {name: tuple(copies) for name, copies in self._reads.items()}
            link = Link(carried(params, self._state), reads, carried(done.params, done.state))
        return Made(self._begin, record, end, link)

    def _learned(self) -> Learned:
        """Options that are functions of problems above, as this step read them."""
        problem = self._problem
        views = {
            name: problem.others[name].at(self._reads[name][-1], copied(self._uppers[name].buffers))
            for name in hyperparameters.reads(problem)
        }
        return hyperparameters.learned(problem, views, self._passes[-1].moment.step)


def made_again(
    problem: Problem,
    record: Record,
    begin: Point,
    uppers: Mapping[str, Read],
    *,
    graph: bool,
    buffers: Vector | None = None,
) -> Made:
    """A recorded step once more, possibly from elsewhere; leaves no trace.

    Args:
        problem: whose step it was.
        record: what it was a function of.
        begin: where it begins now.
        uppers: the problems above.
        graph: it shall be differentiable.
        buffers: go on with these, which are changed; by default each pass begins with copies of
            what it began with then.
    """
    making = Making(problem, begin, uppers, passes=len(record.passes), graph=graph)
    for one in record.passes:
        own_buffers = copied(one.buffers) if buffers is None else buffers
        with one.moment.random.replayed(problem.device):
            _, own, _ = making.evaluate(one, own_buffers)
        making.accumulate(one, own)
    return making.update(record.options)


def virtual_step(problem: Problem, moment: Moment) -> Link:
    """The graph of one more step from where a problem stands, which is not taken.

    Its gradient is that of one pass, on the batch and with the random numbers of `moment`.
    """
    reads = {name: Read.of(model) for name, model in problem.others.items()}
    one = Pass(moment, problem.model.buffers, {})
    record = Record((one,), read_options(problem.optimizer))
    link = made_again(problem, record, Point.of(problem), reads, graph=True).link
    assert link is not None, "it was asked for"
    return link


def _recorded(
    problem: Problem,
    views: Mapping[str, View],
    moment: Moment,
    wanted: Mapping[str, Vector],
) -> tuple[Evaluation, dict[str, Vector]]:
    """The loss, and ∂L/∂wanted by problem; the problem's own part can be differentiated."""

    def plainly() -> tuple[Evaluation, dict[str, Vector]]:
        evaluation = problem.evaluate(views, moment)
        slopes = {
            owner: gradients(evaluation.loss, params, create_graph=owner == problem.name, keep=True)
            for owner, params in wanted.items()
        }
        return evaluation, slopes

    if problem.shortcut is None:
        return plainly()
    return problem.shortcut.recorded(plainly, views, moment, wanted)


def _detached(state: OptimizerState) -> OptimizerState:
    def free(value: Any) -> Any:
        return value.detach() if isinstance(value, Tensor) else value

    return {name: {e: free(x) for e, x in entries.items()} for name, entries in state.items()}


def _leaves(params: Vector, differentiable: bool = True) -> Vector:
    return {name: x.detach().requires_grad_(differentiable) for name, x in params.items()}


def copied(vector: Mapping[str, Tensor]) -> Vector:
    """The same numbers in tensors of their own, without a graph."""
    return {name: x.detach().clone() for name, x in vector.items()}


def _copied_entries(entries: Mapping[str, Any]) -> dict[str, Any]:
    return {e: x.detach().clone() if isinstance(x, Tensor) else x for e, x in entries.items()}


def with_sent(one: Pass, gradient: Vector, own: Vector) -> Pass:
    """A pass whose whole gradient is `gradient`, of which `own` is the problem's own."""
    sent: Vector = {}
    for name, whole in gradient.items():
        if name not in own:
            sent[name] = whole.detach()
        elif whole is not own[name]:
            sent[name] = whole.detach() - own[name].detach()
    return replace(one, sent=sent)
