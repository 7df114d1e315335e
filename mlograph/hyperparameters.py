"""Options of a problem's optimiser that are functions of upper problems.

Before each step of the problem, each such function gives one tensor for all parameters, or a tensor
for each of them that broadcasts to it (Meta-SGD; Li et al., 2017). An ordinary step takes their
numbers; a recorded one can be differentiated by what they are made of.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import isfinite
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from mlograph import trees
from mlograph.blame import blame
from mlograph.errors import Fault, MlographError, NumericError, UsageError, did_you_mean
from mlograph.errors import Path as SpecPath
from mlograph.language.spec import ProblemSpec
from mlograph.optimizers import (
    PROPORTIONAL,
    Learned,
    differentiable_step,
    read_state,
    write_state,
)
from mlograph.problem import Problem
from mlograph.trees import Vector
from mlograph.views import View

# What a function gives: one tensor, or one for each parameter.
_Given = Tensor | Vector


def learned(problem: Problem, views: Mapping[str, View], step: int) -> Learned:
    """The options of each parameter as the functions give them, with their graph.

    Args:
        problem: whose optimiser it is.
        views: of the problems that the functions read.
        step: updates that the problem had made.

    Raises:
        UsageError: a function fails, or gives something else.
        NumericError: it gives numbers that are not finite.
    """
    params = problem.model.params
    found = _given(problem, views, step)
    return {option: _spread(value, params) for option, value in found.items()}


def present(problem: Problem) -> Learned:
    """The options of each parameter for a step that would be made now, without a graph."""
    params = problem.model.params
    return {option: _spread(value, params) for option, value in _now(problem).items()}


def reads(problem: Problem) -> frozenset[str]:
    """The problems that the functions read."""
    return frozenset[str]().union(*(term.reads for term in problem.hyperparameters.values()))


def impose(problem: Problem) -> None:
    """Write the present options into the optimiser's groups, as numbers.

    Where there is one for each parameter, a group gets their mean: for those who ask for a rate.

    Raises:
        UsageError: a function fails, gives something else, or one value for each parameter in fp16.
        NumericError: it gives numbers that are not finite.
    """
    if not problem.hyperparameters:
        return
    for option, value in _now(problem).items():
        if not isinstance(value, Tensor) and problem.scaler is not None:
            raise UsageError(
                f"{_place(problem, option)}: one value for each parameter cannot be had in fp16; "
                "use bf16"
            )
        names = {id(param): name for name, param in problem.model.params.items()}
        for group in problem.optimizer.param_groups:
            group[option] = _number(value, [names[id(p)] for p in group["params"]])


def step(problem: Problem) -> None:
    """One step of the optimiser along the gradients of its parameters, which is not recorded."""
    values = _now(problem) if problem.hyperparameters else {}
    if all(isinstance(value, Tensor) for value in values.values()):
        problem.optimizer.step()
        return
    params = problem.model.params
    with torch.no_grad():
        done = differentiable_step(
            problem.optimizer,
            params,
            params,
            read_state(problem.optimizer, params),
            {name: param.grad for name, param in params.items() if param.grad is not None},
            learned=present(problem),
        )
        write_state(problem.optimizer, params, done.state)
        for name, param in params.items():
            param.copy_(done.params[name])


def faults(problem: str, spec: ProblemSpec, optimizer: Optimizer) -> Iterator[Fault]:
    """Why an optimiser cannot be given the options that its problem's spec has functions for."""
    path: SpecPath = ("problems", problem, "hyperparameters")
    kind, options = type(optimizer), tuple(spec.hyperparameters.given)
    if options and kind not in PROPORTIONAL:
        known = ", ".join(sorted(one.__name__ for one in PROPORTIONAL))
        yield Fault(path, f"options of {kind.__name__} cannot be learned", f"those of {known} can")
        return
    for option in options:
        values = [group.get(option) for group in optimizer.param_groups]
        if None in values:
            yield Fault((*path, option), f"{kind.__name__} has no '{option}'", on_key=True)
        elif any(value != values[0] for value in values):
            message = f"the groups of the optimiser differ in '{option}', which is given here"
            yield Fault((*path, option), message, f"leave '{option}' out of 'params'")
    if "momentum" in options and any(group.get("nesterov") for group in optimizer.param_groups):
        message = "Nesterov's momentum cannot be learned: torch takes it as a number only"
        yield Fault((*path, "momentum"), message, "leave out 'nesterov'")
    if "lr" in options and spec.scheduler is not None:
        message = "a scheduler sets the learning rate that is given here"
        yield Fault((*path, "lr"), message, "leave out the scheduler: the function may take 'step'")


def _now(problem: Problem) -> dict[str, _Given]:
    with torch.no_grad():
        views: dict[str, View] = {name: problem.others[name].still() for name in reads(problem)}
        return _given(problem, views, problem.updates)


def _given(problem: Problem, views: Mapping[str, View], step: int) -> dict[str, _Given]:
    found: dict[str, _Given] = {}
    for option, term in problem.hyperparameters.items():
        place = _place(problem, option)
        arguments: dict[str, Any] = dict(term.constants)
        arguments.update({name: views[other] for name, other in term.views.items()})
        if "step" in term.wants:
            arguments["step"] = step - problem.began
        try:
            value = term.function(**arguments)
        except MlographError:
            raise
        except Exception as error:
            raise UsageError(f"{place}: {blame(error)}") from error
        found[option] = _checked(value, place, problem.model.params)
        if option == "momentum" and not isinstance(value, Tensor):
            raise UsageError(f"{place}: one momentum for all parameters can be given, no mapping")
    return found


def _checked(value: object, place: str, params: Mapping[str, Tensor]) -> _Given:
    if isinstance(value, Tensor) and value.numel() == 1:
        _check_finite({"": value}, place)
        return value.reshape(())
    if isinstance(value, Mapping):
        for name in value:
            if name not in params:
                raise UsageError(f"{place}: no parameter '{name}' ({did_you_mean(name, params)})")
        given = {name: _fitting(value, name, place, params[name]) for name in params}
        _check_finite(given, place)
        return given
    got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
    raise UsageError(f"{place}: expected a scalar tensor or a mapping by parameter, got {got}")


def _check_finite(tensors: Mapping[str, Tensor], place: str) -> None:
    if isfinite(float(torch.stack([x.detach().sum() for x in tensors.values()]).sum())):
        return
    # A sum can overflow where every entry is finite.
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            of = f" for '{name}'" if name else ""
            raise NumericError(f"{place}: gives a value{of} that is not finite")


def _fitting(value: Mapping[Any, object], name: str, place: str, param: Tensor) -> Tensor:
    """What a mapping gives for a parameter."""
    if name not in value:
        raise UsageError(f"{place}: no value for the parameter '{name}'")
    tensor = value[name]
    if not isinstance(tensor, Tensor):
        raise UsageError(f"{place}: expected a tensor for '{name}', got {tensor!r}")
    try:
        fits = torch.broadcast_shapes(tensor.shape, param.shape) == param.shape
    except RuntimeError:
        fits = False
    if not fits:
        raise UsageError(
            f"{place}: shape {tuple(tensor.shape)} for '{name}', which has {tuple(param.shape)}"
        )
    return tensor


def _spread(value: _Given, params: Mapping[str, Tensor]) -> Vector:
    if isinstance(value, Tensor):
        return {name: value.to(param) for name, param in params.items()}
    return {name: value[name].to(param) for name, param in params.items()}


def _number(value: _Given, names: list[str]) -> float:
    if isinstance(value, Tensor):
        return float(value)
    return sum(trees.numbers(*(value[name].mean() for name in names))) / len(names)


def _place(problem: Problem, option: str) -> str:
    return f"problems.{problem.name}.hyperparameters.{option}"
