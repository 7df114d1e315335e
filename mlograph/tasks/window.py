"""All tasks of a window: their loops, the losses above, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from mlograph import trees
from mlograph.errors import MlographError
from mlograph.language.methods import Unroll
from mlograph.linear import Solution
from mlograph.meter import Meter
from mlograph.optimizers import OptimizerState, is_elementwise, write_state
from mlograph.plan import Tasks
from mlograph.problem import Moment, Problem, gradients_by_owner
from mlograph.randomness import RandomState
from mlograph.tasks.drawing import Drawn, Stacker
from mlograph.tasks.evaluation import Occasion, evaluate
from mlograph.tasks.loop import Ended, Measured, run_loops
from mlograph.tasks.pull import Response, pull
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.trees import Vector


@dataclass(frozen=True)
class End:
    """Where one loop ended: parameters, buffers and the optimiser's state of the lower problem."""

    params: Vector
    buffers: Vector
    state: OptimizerState

    @classmethod
    def of(cls, ended: Ended) -> End:
        """The last of several."""
        state = {
            name: {key: _last(x, ended.params[name]) for key, x in entries.items()}
            for name, entries in ended.state.items()
        }
        params = trees.task(trees.detached(ended.params), -1)
        return cls(params, trees.task(ended.buffers, -1), state)


@dataclass(frozen=True)
class Outcome:
    """What came of a window, before any problem was told.

    Attributes:
        gradient: of the upper problem, a sum over tasks.
        lower: what was measured in the loops, a chunk of tasks at a time.
        upper: the same of the losses above.
        solutions: of the linear systems of all tasks.
        end: of the last task.
    """

    gradient: Vector
    lower: tuple[Measured, ...]
    upper: tuple[Measured, ...]
    solutions: tuple[Solution, ...]
    end: End

    def tell(self, lower: Meter, upper: Meter) -> None:
        """Everything that was measured."""
        note(lower, self.lower)
        note(upper, self.upper)


def check(lower: Problem, upper: Problem) -> None:
    """Whether two problems can be run so, as far as their plan cannot tell.

    Raises:
        NotAtOnceError: they cannot.
    """
    kind = type(lower.optimizer).__name__
    if not is_elementwise(lower.optimizer):
        raise NotAtOnceError(f"a step of {kind} is not known to work elementwise")
    if lower.learning_rate.follows_loss:
        raise NotAtOnceError(f"the learning rate of '{lower.name}' follows the loss of each loop")
    if any("step" in term.wants for term in lower.terms):
        raise NotAtOnceError(f"the loss of '{lower.name}' asks for its step")
    if upper.model.buffers and any(upper.name in term.reads for term in upper.terms):
        raise NotAtOnceError(f"the loss of '{upper.name}' may change buffers of '{upper.name}'")


def compute(window: Tasks, drawn: Drawn, lower: Problem, upper: Problem) -> Outcome:
    """Run a window; the upper problem is not touched, the lower one restarted.

    Raises:
        NotAtOnceError: its tasks must be run one by one, whatever the reason.
    """
    try:
        return _computed(window, drawn, lower, upper)
    except (MlographError, RuntimeError) as error:
        raise NotAtOnceError(_first_sentence(str(error))) from error


def _computed(window: Tasks, drawn: Drawn, lower: Problem, upper: Problem) -> Outcome:
    check(lower, upper)
    stacker, gradient = Stacker(), Vector()
    below: list[Measured] = []
    above: list[Measured] = []
    solutions: list[Solution] = []
    end = End(Vector(), Vector(), {})
    for chunk in drawn.chunks(window.chunks(lower.device.type)):
        found = _one_chunk(chunk, lower, upper, stacker)
        gradient = trees.merge(gradient, found.gradient)
        below.append(found.ended.measured)
        above.append(found.above)
        solutions += found.solutions
        end = End.of(found.ended)
    _check_finite(gradient, below, above)
    return Outcome(gradient, tuple(below), tuple(above), tuple(solutions), end)


@dataclass(frozen=True)
class _Chunk:
    gradient: Vector
    ended: Ended
    above: Measured
    solutions: list[Solution]


def _one_chunk(drawn: Drawn, lower: Problem, upper: Problem, stacker: Stacker) -> _Chunk:
    method = lower.spec.hypergradient
    graph = isinstance(method, Unroll)
    last = method.truncate if isinstance(method, Unroll) else None
    ended = run_loops(lower, upper.model, drawn.lower, stacker, graph=graph, last=last)
    params = {name: x.detach().requires_grad_() for name, x in ended.params.items()}
    buffers = {name: x.clone() for name, x in ended.buffers.items()}
    random = RandomState.capture(upper.device)
    data = stacker.stack([one.batch for one in drawn.upper])
    each = evaluate(upper, lower.name, params, buffers, Occasion(data, upper.updates, random))
    above = Measured()
    above.add_loss(each)
    wanted = {upper.name: upper.model.params, lower.name: params}
    direct = gradients_by_owner(each.loss.sum(), wanted)
    adjoint = direct[lower.name]
    if not adjoint:
        raise NotAtOnceError(f"no gradient of the loss of '{upper.name}' reaches '{lower.name}'")
    pulled = pull(Response(lower, upper, ended), adjoint)
    if not pulled.sent:
        raise NotAtOnceError(f"no derivative comes back from '{lower.name}'")
    solved = pulled.solutions.each() if pulled.solutions is not None else []
    gradient = trees.merge(direct[upper.name], pulled.sent)
    return _Chunk(gradient, ended, above, solved)


_TOLD = ("loss", "gradient_norm")


def _check_finite(gradient: Vector, *measured: list[Measured]) -> None:
    told = (one.values.get(key, []) for part in measured for one in part for key in _TOLD)
    sums = [x.sum() for column in told for x in column] + [x.sum() for x in gradient.values()]
    if not bool(torch.stack(sums).isfinite().all()):
        raise NotAtOnceError("a number is not finite", lasting=False)


def _first_sentence(text: str) -> str:
    """What torch says of vmap goes on for long; the place in the user's code comes last."""
    line = " ".join(text.split())
    sentence, _, rest = line.partition(". ")
    place = rest[rest.rfind(" (") :] if rest.endswith(")") else ""
    return sentence + place


def _last(value: object, stacked: Tensor) -> object:
    """The last task's part of an entry of the optimiser's state; a counter is that of all."""
    if isinstance(value, Tensor) and value.shape == stacked.shape:
        return value.detach()[-1]
    return value


def commit(window: Tasks, drawn: Drawn, lower: Problem, upper: Problem, outcome: Outcome) -> None:
    """Leave both problems as a sequential run of the window would."""
    with torch.no_grad():
        for name, param in lower.model.params.items():
            param.copy_(outcome.end.params[name])
        for name, buffer in lower.model.buffers.items():
            buffer.copy_(outcome.end.buffers[name])
        share = trees.scale(1.0 / upper.spec.gradient_accumulation, outcome.gradient)
        for name, tensor in share.items():
            param = upper.model.params[name]
            param.grad = tensor if param.grad is None else param.grad.add_(tensor)
    write_state(lower.optimizer, lower.model.params, outcome.end.state)
    updates = len(drawn.lower[0]) // lower.spec.gradient_accumulation
    made = updates * window.count
    lower.began = lower.updates + made - updates
    lower.updates += made
    moment = drawn.lower[-1][-1]
    lower.moment = Moment(moment.batch, lower.updates - 1, moment.random)


def note(meter: Meter, measured: tuple[Measured, ...]) -> None:
    """Tell a meter what was measured."""
    for one in measured:
        for name, columns in one.values.items():
            meter.extend(name, torch.stack(columns, dim=1).flatten())
