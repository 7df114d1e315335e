"""Everything that a problem is at one moment, taken and put back."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch

from mlograph.problem import Moment, Problem
from mlograph.trees import Vector


@dataclass(frozen=True)
class ProblemState:
    """A copy of a problem's module, optimiser, schedule, scaler and counters."""

    tensors: Vector
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
    for name, param in problem.model.params.items():
        gradient = state.gradients.get(name)
        param.grad = None if gradient is None else gradient.clone()
    problem.optimizer.load_state_dict(copy.deepcopy(state.optimizer))
    problem.learning_rate.load_state_dict(copy.deepcopy(state.schedule))
    if problem.scaler is not None:
        problem.scaler.load_state_dict(state.scaler)
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


def saved(problems: Mapping[str, Problem]) -> dict[str, Any]:
    """The states of all problems as plain containers of tensors, for `torch.save`."""
    return {
        name: {
            "tensors": state.tensors,
            "optimizer": state.optimizer,
            "schedule": state.schedule,
            "scaler": state.scaler,
            "updates": state.updates,
            "began": state.began,
        }
        for name, state in ((name, capture(problem)) for name, problem in problems.items())
    }
