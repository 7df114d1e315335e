"""One differentiable step of any torch optimiser, by torch's own update code.

The optimiser of a problem stays torch's own object. For a step that is to be differentiated, its
groups are rebuilt on clones of the parameters with `differentiable=True`, stepped once, and read
back: new parameters and new state as functions of old parameters, old state and gradients.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim import SGD, Optimizer

from mlograph.trees import Vector

# State of an optimiser by parameter name, then by torch's own key.
OptimizerState = dict[str, dict[str, Any]]

# Stands for a gradient entry of exactly zero: the derivative of sqrt(v) is infinite at v = 0.
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
    clones = {name: tensor.clone() for name, tensor in params.items()}
    shadow = type(optimizer)(_groups(optimizer, own, clones), **_DIFFERENTIABLE)
    for name, gradient in gradients.items():
        clone = clones[name]
        clone.grad = _guarded(optimizer, gradient)
        shadow.state[clone] = _entries(optimizer, own[name], state.get(name), gradient)
    shadow.step()
    after = {name: dict(shadow.state[clones[name]]) for name in gradients}
    return StepResult(clones, {**state, **after})


_DIFFERENTIABLE: dict[str, Any] = {"differentiable": True}


def _groups(
    optimizer: Optimizer, own: Mapping[str, Tensor], clones: Mapping[str, Tensor]
) -> list[dict[str, Any]]:
    by_identity = {id(param): clones[name] for name, param in own.items()}
    overrides = {"differentiable": True, "foreach": False, "fused": False, "capturable": False}
    groups = []
    for group in optimizer.param_groups:
        options = {key: overrides.get(key, value) for key, value in group.items()}
        options["params"] = [by_identity[id(p)] for p in group["params"] if id(p) in by_identity]
        if options["params"]:
            groups.append(options)
    return groups


def _entries(
    optimizer: Optimizer, own: Tensor, entries: dict[str, Any] | None, gradient: Tensor
) -> dict[str, Any]:
    """A copy of a parameter's state that the step may overwrite."""
    if entries:
        return {k: v.clone() if isinstance(v, Tensor) else v for k, v in entries.items()}
    if isinstance(optimizer, SGD):
        return _first_momentum(optimizer, own, gradient)
    return {}


def _first_momentum(optimizer: SGD, own: Tensor, gradient: Tensor) -> dict[str, Any]:
    """A buffer b₀ with μ·b₀ + (1 − dampening)·g = g, as torch's first step has it, but undetached.

    torch starts its buffer with a detached copy of the gradient, which would cut the graph.
    """
    group = next(g for g in optimizer.param_groups if any(p is own for p in g["params"]))
    if not group["momentum"]:
        return {}
    decayed = gradient
    if group["maximize"]:
        decayed = -decayed
    if group["weight_decay"]:
        decayed = decayed + group["weight_decay"] * own.detach()
    if not group["dampening"]:
        return {"momentum_buffer": torch.zeros_like(gradient)}
    return {"momentum_buffer": decayed * (group["dampening"] / group["momentum"])}


def _guarded(optimizer: Optimizer, gradient: Tensor) -> Tensor:
    if isinstance(optimizer, SGD):
        return gradient
    return torch.where(gradient == 0, gradient + _TINY, gradient)
