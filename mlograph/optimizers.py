"""One differentiable step of any torch optimiser, by torch's own update code.

The optimiser of a problem stays torch's own object. For a step that is to be differentiated, its
groups are rebuilt on clones of the parameters with `differentiable=True`, stepped once by a shadow
that is kept for it, and read back: new parameters and new state as functions of old parameters, old
state and gradients.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.optim import (
    ASGD,
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    Adamax,
    AdamW,
    NAdam,
    Optimizer,
    RAdam,
    RMSprop,
    Rprop,
)

from mlograph.trees import Vector

# State of an optimiser by parameter name, then by torch's own key.
OptimizerState = dict[str, dict[str, Any]]

# Options of an optimiser's groups, in their order: learning rates and the like.
GroupOptions = tuple[Mapping[str, Any], ...]

# Options that are functions of other tensors: by option and then by parameter name.
Learned = Mapping[str, Mapping[str, Tensor]]

# A step of these is proportional to its learning rate, which may therefore be any tensor.
PROPORTIONAL = frozenset({SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adagrad, Adadelta, Adamax})

# What torch keeps in float32 for a parameter of any type: see `_double_scalars`.
_SCALARS = ("step", "mu_product")

# Stands for a vanishing gradient entry: the derivative of sqrt(v) is infinite at v = 0.
# Its square times Adam's (1 − β₂) is still a normal float32.
_TINY = 1e-16


@dataclass(frozen=True)
class StepResult:
    """Parameters and optimiser state after one step, with their graph."""

    params: Vector
    state: OptimizerState


def is_elementwise(optimizer: Optimizer) -> bool:
    """Whether a step moves every number of a parameter by itself: by its own gradient and state."""
    return type(optimizer) in PROPORTIONAL | {ASGD, Rprop}


def twin(
    optimizer: Optimizer, own: Mapping[str, Tensor], params: Mapping[str, Tensor]
) -> Optimizer:
    """An optimiser of the same kind and with the same groups that steps `params`, without state.

    Args:
        optimizer: which is not changed.
        own: the parameters that it holds, by name.
        params: leaves by the same names, possibly of other shapes.
    """
    by_identity = {id(own[name]): param for name, param in params.items()}
    groups = []
    for group in optimizer.param_groups:
        held = [by_identity[id(p)] for p in group["params"] if id(p) in by_identity]
        groups.append({**group, "params": held})
    known = inspect.signature(type(optimizer)).parameters
    defaults = {key: value for key, value in optimizer.defaults.items() if key in known}
    return type(optimizer)(groups, **defaults)


def copy_options(source: Optimizer, target: Optimizer) -> None:
    """Give the groups of `target`, a twin of `source`, the present options of its groups."""
    for group, made in zip(source.param_groups, target.param_groups, strict=True):
        made.update({key: value for key, value in group.items() if key != "params"})


# Their steps give the same numbers to the last bit for all parameters at once. (A fused one does
# not, and Nesterov's momentum would then be written into the gradients.)
_SAME_AT_ONCE = frozenset({SGD, Adam, AdamW, RMSprop})

# What a step spends on a tensor beside the arithmetic pays from so many on; intermediate results of
# all of them at once take memory.
_MANY_TENSORS, _FEW_NUMBERS = 8, 2**20


def step_at_once(optimizer: Optimizer) -> None:
    """Choose torch's `foreach` for a group of many small tensors on the CPU.

    torch chooses it by itself on a GPU. A setting of `foreach` or `fused` stands.
    """
    for group in optimizer.param_groups:
        params = group["params"]
        if (
            type(optimizer) in _SAME_AT_ONCE
            and group.get("foreach") is None
            and not group.get("fused")
            and not group.get("nesterov")
            and len(params) >= _MANY_TENSORS
            and sum(param.numel() for param in params) <= _FEW_NUMBERS
            and all(param.device.type == "cpu" for param in params)
        ):
            group["foreach"] = True


def is_differentiable(optimizer: Optimizer) -> bool:
    """Whether torch's update of this optimiser can be differentiated."""
    return "differentiable" in inspect.signature(type(optimizer)).parameters


def learning_rates(optimizer: Optimizer, params: Mapping[str, Tensor]) -> dict[str, float]:
    """The present learning rate of each parameter's group, by parameter name."""
    rates = {id(p): float(g["lr"]) for g in optimizer.param_groups for p in g["params"]}
    return {name: rates[id(param)] for name, param in params.items()}


def rates(
    optimizer: Optimizer, params: Mapping[str, Tensor], asked: float | Literal["lr", "one"]
) -> dict[str, float]:
    """What a method's options ask for, of each parameter; lr: its present learning rate."""
    if asked == "lr":
        return learning_rates(optimizer, params)
    return dict.fromkeys(params, 1.0 if asked == "one" else asked)


def read_options(optimizer: Optimizer) -> GroupOptions:
    """A copy of the present options of an optimiser's groups."""
    return tuple(
        _copied({key: value for key, value in group.items() if key != "params"})
        for group in optimizer.param_groups
    )


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
            # A copy: the next ordinary step would change it in place.
            key: value.detach().clone() if isinstance(value, Tensor) else value
            for key, value in entries.items()
        }


def differentiable_step(
    optimizer: Optimizer,
    own: Mapping[str, Tensor],
    params: Mapping[str, Tensor],
    state: OptimizerState,
    gradients: Mapping[str, Tensor],
    options: GroupOptions | None = None,
    learned: Learned | None = None,
) -> StepResult:
    """θ', s' = step(θ, s, g) as a differentiable function.

    torch takes most options as numbers only. So a learning rate η that is a tensor multiplies the
    way that a step with η = 1 goes; a weight decay λ that is one is added as λθ to the gradient, or
    to the way where it is decoupled. Momentum goes to torch as it is.

    Args:
        optimizer: gives its class and its groups; neither it nor its state is changed.
        own: the parameters that the optimiser holds, by name.
        params: θ, by the same names, possibly with a graph.
        state: s.
        gradients: g; a parameter without one is not moved.
        options: of the groups, in place of their present ones.
        learned: learning rates and weight decays of each parameter, which broadcast to it, and one
            momentum for all, in place of those of the groups; possibly with a graph. Only for
            optimisers that are `PROPORTIONAL`.
    """
    options = options or read_options(optimizer)
    if not gradients:
        return StepResult(dict(params), state)
    learned = _with_zeros(optimizer, own, options, learned or {})
    if not learned:
        return _step(optimizer, own, params, state, gradients, options)
    group = _group_of(optimizer, own, options)
    rates, decays = learned.get("lr", {}), learned.get("weight_decay", {})
    decay = {name: decays[name] * params[name] for name in gradients if name in decays}
    pulled = dict(gradients)
    for name, x in decay.items():
        if not group[name].get("decoupled_weight_decay"):
            pulled[name] = pulled[name] + (-x if group[name]["maximize"] else x)
    done = _step(optimizer, own, params, state, pulled, _numbers(options, learned))
    if not rates and not decays:
        return done
    moved = {}
    for name in gradients:
        way = done.params[name] - params[name]
        if name in decay and group[name].get("decoupled_weight_decay"):
            way = way - (1.0 if rates else group[name]["lr"]) * decay[name]
        moved[name] = params[name] + (rates[name] * way if rates else way)
    return StepResult({**params, **moved}, done.state)


def _with_zeros(
    optimizer: Optimizer, own: Mapping[str, Tensor], options: GroupOptions, learned: Learned
) -> Learned:
    """With the rates of all groups where one of them is zero, as at the ends of many schedules.

    torch's differentiable Adam divides by its learning rate.
    """
    divides = isinstance(optimizer, Adam | AdamW) and "lr" not in learned
    if not divides or all(float(group["lr"]) for group in options):
        return learned
    group = _group_of(optimizer, own, options)
    rates = {name: x.new_tensor(float(group[name]["lr"])) for name, x in own.items()}
    return {**learned, "lr": rates}


def _group_of(
    optimizer: Optimizer, own: Mapping[str, Tensor], options: GroupOptions
) -> dict[str, Mapping[str, Any]]:
    """The options of each parameter, by its name."""
    pairs = zip(optimizer.param_groups, options, strict=True)
    by_identity = {id(p): given for group, given in pairs for p in group["params"]}
    return {name: by_identity[id(param)] for name, param in own.items()}


def _numbers(options: GroupOptions, learned: Learned) -> GroupOptions:
    """The options that torch shall step with, where some are learned."""
    fixed: dict[str, Any] = {"lr": 1.0, "weight_decay": 0.0}
    if "momentum" in learned:
        fixed["momentum"] = next(iter(learned["momentum"].values()))
    return tuple({**group, **{key: fixed[key] for key in learned}} for group in options)


def _step(
    optimizer: Optimizer,
    own: Mapping[str, Tensor],
    params: Mapping[str, Tensor],
    state: OptimizerState,
    gradients: Mapping[str, Tensor],
    options: GroupOptions,
) -> StepResult:
    """One step by torch's own update."""
    clones = {name: params[name].clone() for name in gradients}
    with _double_scalars():
        shadow = _shadow(optimizer, _groups(optimizer, own, clones, options))
        for name, clone in clones.items():
            clone.grad = _guarded(optimizer, gradients[name])
            entries = state.get(name) or _first_momentum(shadow, clone)
            if entries:
                shadow.state[clone] = _copied(entries)
        shadow.step()
    after = {name: dict(shadow.state[clone]) for name, clone in clones.items()}
    # Its graph is the result's own; the shadow is kept.
    shadow.state.clear()
    shadow.param_groups.clear()
    return StepResult({**params, **clones}, {**state, **after})


# Made when they are first needed: to make one takes as long as several steps.
_SHADOWS: WeakKeyDictionary[Optimizer, Optimizer] = WeakKeyDictionary()

# Those whose steps follow from their groups and their state alone. Adagrad's and a user's may make
# state for the parameters that they are made with.
_PURE = frozenset({SGD, Adam, AdamW, NAdam, RAdam, RMSprop, Adadelta, Adamax, ASGD, Rprop})


def _shadow(optimizer: Optimizer, groups: list[dict[str, Any]]) -> Optimizer:
    """An optimiser of the same kind over other groups, without state."""
    if type(optimizer) not in _PURE:
        return type(optimizer)(groups, **_defaults(optimizer))
    if optimizer not in _SHADOWS:
        _SHADOWS[optimizer] = type(optimizer)([torch.zeros(1)], **_defaults(optimizer))
    shadow = _SHADOWS[optimizer]
    shadow.param_groups[:] = groups
    return shadow


_DIFFERENTIABLE = {"differentiable": True, "foreach": False, "fused": False, "capturable": False}


def _defaults(optimizer: Optimizer) -> dict[str, Any]:
    """The optimiser's own defaults: a state that is made anew may follow from them."""
    known = inspect.signature(type(optimizer)).parameters
    options = {**optimizer.defaults, **_DIFFERENTIABLE}
    return {key: value for key, value in options.items() if key in known}


def _groups(
    optimizer: Optimizer,
    own: Mapping[str, Tensor],
    clones: Mapping[str, Tensor],
    options: GroupOptions,
) -> list[dict[str, Any]]:
    by_identity = {id(own[name]): clone for name, clone in clones.items()}
    groups = []
    for group, given in zip(optimizer.param_groups, options, strict=True):
        made: dict[str, Any] = {key: _DIFFERENTIABLE.get(key, x) for key, x in given.items()}
        made["params"] = [by_identity[id(p)] for p in group["params"] if id(p) in by_identity]
        if made["params"]:
            groups.append(made)
    return groups


def _copied(entries: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a parameter's state that the step may overwrite, its scalars in float64."""
    copied = {key: x.clone() if isinstance(x, Tensor) else x for key, x in entries.items()}
    scalars = {key: copied[key].double() for key in _SCALARS if isinstance(copied.get(key), Tensor)}
    return {**copied, **scalars}


def _first_momentum(optimizer: Optimizer, clone: Tensor) -> dict[str, Any]:
    """A buffer b₀ with μ·b₀ + (1 − dampening)·g = g, as torch's first step has it, but undetached.

    torch's SGD starts its buffer with a detached copy of the gradient, which would cut the graph.
    """
    group = next(g for g in optimizer.param_groups if any(p is clone for p in g["params"]))
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
    """Scalars of an optimiser's state that are made inside are float64.

    A differentiable step computes its bias corrections with the counter's own type, where an
    ordinary one uses Python numbers; 1 − 0.999 in float32 is off by 1e-5.
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)
