"""Optimisers and learning-rate schedules, built over a problem's trainable parameters."""

from __future__ import annotations

import inspect
from fnmatch import fnmatchcase
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mlograph.components import Imports, build
from mlograph.errors import Fault, GraphError, did_you_mean, dotted
from mlograph.errors import Path as SpecPath
from mlograph.language.spec import Component, Live
from mlograph.model import Model
from mlograph.optimizers import step_at_once
from mlograph.schedulers import Constant, LearningRate, Scheduled


def bind_optimizer(
    component: Component | Live, model: Model, imports: Imports, path: SpecPath
) -> Optimizer:
    """The optimiser of a problem, over all its trainable parameters.

    `params` of the component, where given, makes groups by globs over names of parameters.

    Raises:
        GraphError: it cannot be built, is no optimiser, or holds other parameters.
    """
    given: list[Any] = [*model.params.values()]
    if isinstance(component, Component) and "params" in component.args:
        arguments = dict(component.args)
        given = _groups(arguments.pop("params"), model, (*path, "params"))
        component = Component.of(component.target, **arguments)
    optimizer = build(component, imports, path, positional=(given,))
    kind = type(optimizer).__name__
    if not isinstance(optimizer, Optimizer):
        raise GraphError([Fault(path, f"expected a torch optimiser, got a {kind}")])
    closure = inspect.signature(type(optimizer).step).parameters.get("closure")
    if closure is not None and closure.default is closure.empty:
        message = f"{kind} wants to evaluate the loss by itself (a closure)"
        raise GraphError([Fault(path, message)])
    _check_ownership(optimizer, model, path)
    if isinstance(component, Component):
        step_at_once(optimizer)
    return optimizer


def bind_learning_rate(
    component: Component | Live | None, optimizer: Optimizer, imports: Imports, path: SpecPath
) -> LearningRate:
    """The schedule of an optimiser's learning rates; without one they stay as they are.

    Raises:
        GraphError: it cannot be built, is no scheduler, or belongs to another optimiser.
    """
    if component is None:
        return Constant()
    # Schedulers may be made of schedulers, and each is given the optimiser.
    scheduler = build(component, imports, path, shared={"optimizer": optimizer})
    if not isinstance(scheduler, LRScheduler | ReduceLROnPlateau):
        kind = type(scheduler).__name__
        raise GraphError([Fault(path, f"expected a torch scheduler, got a {kind}")])
    if scheduler.optimizer is not optimizer:
        raise GraphError([Fault(path, "the scheduler was made for another optimiser")])
    return Scheduled(scheduler, optimizer, dotted(path))


def _check_ownership(optimizer: Optimizer, model: Model, path: SpecPath) -> None:
    """An optimiser that was built elsewhere holds this module's parameters: all, and no others."""
    held = {id(param) for group in optimizer.param_groups for param in group["params"]}
    missing = [name for name, param in model.params.items() if id(param) not in held]
    foreign = held - {id(param) for param in model.module.parameters()}
    if foreign:
        message = f"the optimiser holds {len(foreign)} parameters that are not of this module"
        raise GraphError([Fault(path, message)])
    if missing:
        message = f"the optimiser does not hold {', '.join(map(repr, missing))}"
        raise GraphError([Fault(path, message, "add what shall stay fixed to 'freeze'")])


def _groups(value: object, model: Model, path: SpecPath) -> list[dict[str, Any]]:
    """Parameter groups from globs over names; the first glob that fits takes a parameter."""
    if not isinstance(value, list) or not all(
        isinstance(group, dict) and "params" in group for group in value
    ):
        raise GraphError(
            [Fault(path, "expected a list of groups such as '{params: \"*.bias\", lr: 0.1}'")]
        )
    left = dict(model.params)
    groups = []
    for index, group in enumerate(value):
        taken = {name: left[name] for name in left if _fits(name, group["params"])}
        if not taken:
            known = did_you_mean(str(group["params"]), model.params)
            message = f"'{group['params']}' fits no parameter that is left"
            raise GraphError([Fault((*path, index, "params"), message, known)])
        left = {name: param for name, param in left.items() if name not in taken}
        groups.append({**group, "params": [*taken.values()]})
    if left:
        groups.append({"params": [*left.values()]})
    return groups


def _fits(name: str, patterns: object) -> bool:
    listed = patterns if isinstance(patterns, list) else [patterns]
    return any(fnmatchcase(name, str(pattern)) for pattern in listed)
