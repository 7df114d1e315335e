"""Everything that a problem is at one moment, taken and put back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from mlograph.problem import Moment, Problem
from mlograph.trees import Vector


@dataclass(frozen=True)
class ProblemState:
    """A copy of a problem's module, optimiser, schedule, scaler and counters.

    Attributes:
        tensors: parameters and buffers.
        extras: what parts of the module give as their extra state.
        modes: by part of the module, whether it is in training mode.
        gradients: accumulated for the coming update.
        optimizer: as torch gives it; its tensors keep their types.
        schedule: of the learning rate.
        scaler: for fp16.
        updates: made so far.
        began: made when the present loop started anew.
        moment: what the loss was last evaluated on.
    """

    tensors: Vector
    extras: dict[str, Any]
    modes: dict[str, bool]
    gradients: Vector
    optimizer: dict[str, Any]
    schedule: dict[str, Any]
    scaler: dict[str, Any]
    updates: int
    began: int
    moment: Moment | None


def capture(problem: Problem) -> ProblemState:
    """A deep copy of the present state of a problem."""
    params = problem.model.params
    return ProblemState(
        tensors={n: x.detach().clone() for n, x in problem.model.tensors().items()},
        extras={name: copy.deepcopy(part.get_extra_state()) for name, part in _extra(problem)},
        modes={name: part.training for name, part in problem.model.module.named_modules()},
        gradients={n: p.grad.clone() for n, p in params.items() if p.grad is not None},
        optimizer=copy.deepcopy(problem.optimizer.state_dict()),
        schedule=copy.deepcopy(problem.learning_rate.state_dict()),
        scaler=problem.scaler.state_dict() if problem.scaler is not None else {},
        updates=problem.updates,
        began=problem.began,
        moment=problem.moment,
    )


def restore(problem: Problem, state: ProblemState) -> None:
    """Make `problem` what it was when `state` was taken; tensors keep their identity."""
    with torch.no_grad():
        for name, tensor in problem.model.tensors().items():
            tensor.copy_(state.tensors[name])
    for name, part in _extra(problem):
        part.set_extra_state(copy.deepcopy(state.extras[name]))
    for name, part in problem.model.module.named_modules():
        part.training = state.modes[name]
    for name, param in problem.model.params.items():
        gradient = state.gradients.get(name)
        param.grad = None if gradient is None else gradient.clone()
    _restore_optimizer(problem.optimizer, state.optimizer, exact=_same_types(problem, state))
    problem.learning_rate.load_state_dict(copy.deepcopy(state.schedule))
    if problem.scaler is not None:
        problem.scaler.load_state_dict(state.scaler)
        # torch makes a scaler's tensors at the first loss, which may have been before.
        problem.scaler.scale(torch.ones((), device=problem.device))
    problem.updates, problem.began = state.updates, state.began
    problem.moment = state.moment


@contextmanager
def preserved(problems: Iterable[Problem]) -> Iterator[None]:
    """Whatever happens to the problems inside is undone at the end."""
    states = [(problem, capture(problem)) for problem in problems]
    try:
        yield
    finally:
        for problem, state in states:
            restore(problem, state)


def _extra(problem: Problem) -> Iterator[tuple[str, nn.Module]]:
    for name, part in problem.model.module.named_modules():
        if type(part).get_extra_state is not nn.Module.get_extra_state:
            yield name, part


def _same_types(problem: Problem, state: ProblemState) -> bool:
    return all(x.dtype == state.tensors[n].dtype for n, x in problem.model.params.items())


def _restore_optimizer(optimizer: Optimizer, state: dict[str, Any], *, exact: bool) -> None:
    """Load a state; `exact`: its numbers keep the types in which they were saved."""
    optimizer.load_state_dict(copy.deepcopy(state))
    if not exact:
        return
    params = [param for group in optimizer.param_groups for param in group["params"]]
    for number, param in enumerate(params):
        for key, saved in state["state"].get(number, {}).items():
            loaded = optimizer.state[param].get(key)
            # torch casts what it loads to the type of the parameter; a step that can be
            # differentiated keeps some of its numbers in float64.
            if isinstance(saved, Tensor) and isinstance(loaded, Tensor):
                optimizer.state[param][key] = loaded.to(saved.dtype).copy_(saved)
