"""One differentiable step of any torch optimiser, by torch's own update code.

The optimiser of a problem stays torch's own object. For a step that is to be differentiated, its
groups are rebuilt on clones of the parameters with `differentiable=True`, stepped once, and read
back: new parameters and new state as functions of old parameters, old state and gradients.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import ASGD, SGD, Optimizer, Rprop

from mlograph.trees import Vector

# State of an optimiser by parameter name, then by torch's own key.
OptimizerState = dict[str, dict[str, Any]]

# Stands for a vanishing gradient entry: the derivative of sqrt(v) is infinite at v = 0.
# Its square times Adam's (1 − β₂) is still a normal float32.
_TINY = 1e-16


@dataclass(frozen=True)
class StepResult:
    """Parameters and optimiser state after one step, with their graph."""

    params: Vector
    state: OptimizerState


def is_differentiable(optimizer: Optimizer) -> bool:
    """Whether torch's update of this optimiser can be differentiated."""
    return "differentiable" in inspect.signature(type(optimizer)).parameters


def read_state(optimizer: Optimizer, params: Mapping[str, Tensor]) -> OptimizerState:
    """The optimiser's present state by parameter name; parameters without any are left out."""
    return {
        name: dict(optimizer.state[param])
        for name, param in params.items()
        if param in optimizer.state
    }


def write_state(optimizer: Optimizer, params: Mapping[str, Tensor], state: OptimizerState) -> None:
    """Give the optimiser `state`, detached, as its own."""
    for name, entries in state.items():
        optimizer.state[params[name]] = {
            key: value.detach() if isinstance(value, Tensor) else value
            for key, value in entries.items()
        }


def differentiable_step(
    optimizer: Optimizer,
    own: Mapping[str, Tensor],
    params: Mapping[str, Tensor],
    state: OptimizerState,
    gradients: Mapping[str, Tensor],
) -> StepResult:
    """θ', s' = step(θ, s, g) with the optimiser's present groups, as a differentiable function.

    Args:
        optimizer: gives its class and its groups; neither it nor its state is changed.
        own: the parameters that the optimiser holds, by name.
        params: θ, by the same names, possibly with a graph.
        state: s.
        gradients: g; a parameter without one is not moved.
    """
    if not gradients:
        return StepResult(dict(params), state)
    clones = {name: params[name].clone() for name in gradients}
    with _double_scalars():
        shadow = type(optimizer)(_groups(optimizer, own, clones), **_defaults(optimizer))
        for name, clone in clones.items():
            clone.grad = _guarded(optimizer, gradients[name])
            entries = state.get(name) or _first_momentum(optimizer, own[name], clone)
            if entries:
                shadow.state[clone] = _copied(entries)
        shadow.step()
    after = {name: dict(shadow.state[clone]) for name, clone in clones.items()}
    return StepResult({**params, **clones}, {**state, **after})


_DIFFERENTIABLE = {"differentiable": True, "foreach": False, "fused": False, "capturable": False}


def _defaults(optimizer: Optimizer) -> dict[str, Any]:
    """The optimiser's own defaults: a state that is made anew may follow from them."""
    known = inspect.signature(type(optimizer)).parameters
    options = {**optimizer.defaults, **_DIFFERENTIABLE}
    return {key: value for key, value in options.items() if key in known}


def _groups(
    optimizer: Optimizer, own: Mapping[str, Tensor], clones: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    by_identity = {id(own[name]): clone for name, clone in clones.items()}
    groups = []
    for group in optimizer.param_groups:
        options = {key: _DIFFERENTIABLE.get(key, value) for key, value in group.items()}
        options["params"] = [by_identity[id(p)] for p in group["params"] if id(p) in by_identity]
        if options["params"]:
            groups.append(options)
    return groups


def _copied(entries: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a parameter's state that the step may overwrite."""
    return {key: x.clone() if isinstance(x, Tensor) else x for key, x in entries.items()}


def _first_momentum(optimizer: Optimizer, own: Tensor, clone: Tensor) -> dict[str, Any]:
    """A buffer b₀ with μ·b₀ + (1 − dampening)·g = g, as torch's first step has it, but undetached.

    torch's SGD starts its buffer with a detached copy of the gradient, which would cut the graph.
    """
    group = next(g for g in optimizer.param_groups if any(p is own for p in g["params"]))
    gradient = clone.grad
    if not isinstance(optimizer, SGD) or not group["momentum"] or gradient is None:
        return {}
    decayed = (-gradient if group["maximize"] else gradient) + group["weight_decay"] * clone
    return {"momentum_buffer": decayed * (group["dampening"] / group["momentum"])}


def _guarded(optimizer: Optimizer, gradient: Tensor) -> Tensor:
    """The gradient, away from where √(g²) has no derivative or g² is no normal number."""
    if isinstance(optimizer, SGD | ASGD | Rprop):
        return gradient
    return torch.where(gradient.abs() < _TINY, gradient - gradient.detach() + _TINY, gradient)


@contextmanager
def _double_scalars() -> Iterator[None]:
    """Step counters are float64 inside.

    A differentiable step computes its bias corrections with the counter's own type, where an
    ordinary one uses Python numbers; 1 − 0.999 in float32 is off by 1e-5.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
