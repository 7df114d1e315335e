"""Differentiable steps are torch's own steps, and their derivatives are right."""

from __future__ import annotations

import gc
import inspect
import weakref
from typing import Any

import pytest
import torch
from cases import numbers
from optimisers import VARIANTS
from torch import Tensor, nn
from torch.optim import Optimizer

from mlograph.optimizers import (
    OptimizerState,
    differentiable_step,
    is_differentiable,
    read_options,
    read_state,
    step_at_once,
    write_state,
)
from mlograph.trees import Vector

each_variant = pytest.mark.parametrize("name", VARIANTS)

# Of these torch's ordinary step keeps scalars of its state in float32.
ROUNDED = {"NAdam", "NAdam decoupled", "ASGD"}
STEPS = 6


def made(name: str, params: Vector) -> Optimizer:
    """The optimiser with a group for each parameter, at rates of their own."""
    kind, options = VARIANTS[name]
    groups = [
        {"params": [param], "lr": options["lr"] / (1 + index)}
        for index, param in enumerate(params.values())
    ]
    return kind(groups, **options)


def parameters(*values: Tensor) -> Vector:
    return {name: nn.Parameter(x.clone()) for name, x in zip("ab", values, strict=False)}


def loss(params: Vector, weights: Tensor) -> Tensor:
    """Curved, and nowhere flat near the points used here."""
    x = torch.cat([*params.values()])
    return (weights * x.pow(4) / 4 + 0.3 * torch.sin(2 * x) + x.square()).sum()


def loop(name: str, start: Vector, weights: Tensor, steps: int = STEPS) -> tuple[Vector, Any]:
    """Differentiable steps on `loss`."""
    own = parameters(*(x.detach() for x in start.values()))
    optimizer = made(name, own)
    params, state = start, read_state(optimizer, own)
    for _ in range(steps):
        gradients = torch.autograd.grad(
            loss(params, weights), [*params.values()], create_graph=True
        )
        named = dict(zip(params, gradients, strict=True))
        done = differentiable_step(optimizer, own, params, state, named)
        params, state = done.params, done.state
    return params, state


START = (numbers(2, seed=1) + 0.1, numbers(3, seed=2))
WEIGHTS = numbers(5, seed=3).abs() + 0.5


@each_variant
def test_steps_are_torchs_own_with_state_and_groups(name: str):
    plain = parameters(*START)
    optimizer = made(name, plain)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss(plain, WEIGHTS).backward()
        optimizer.step()
    precision = 1e-6 if name in ROUNDED else 1e-12
    found, state = loop(name, parameters(*START), WEIGHTS)
    for key, param in plain.items():
        assert torch.allclose(found[key], param, rtol=precision, atol=1e-14)
        assert state[key].keys() == optimizer.state[param].keys()
        for entry, value in optimizer.state[param].items():
            got = torch.as_tensor(state[key][entry])
            assert torch.allclose(got, torch.as_tensor(value, dtype=got.dtype), rtol=precision)


def test_every_optimiser_that_torch_can_differentiate_is_tried():
    kinds = [kind for kind in vars(torch.optim).values() if inspect.isclass(kind)]
    able = {kind for kind in kinds if "differentiable" in inspect.signature(kind).parameters}
    assert able == {kind for kind, _ in VARIANTS.values()}


def test_it_knows_which_optimisers_torch_can_differentiate():
    params = [nn.Parameter(torch.zeros(2))]
    assert is_differentiable(torch.optim.NAdam(params))
    assert not is_differentiable(torch.optim.LBFGS(params))


@each_variant
def test_derivatives_by_the_start(name: str):
    def end(a: Tensor, b: Tensor) -> tuple[Tensor, ...]:
        return tuple(loop(name, {"a": a, "b": b}, WEIGHTS, steps=3)[0].values())

    start = tuple(x.clone().requires_grad_() for x in START)
    assert torch.autograd.gradcheck(end, start, atol=1e-6, rtol=1e-5)


@each_variant
def test_derivatives_by_a_parameter_of_the_loss(name: str):
    def end(weights: Tensor) -> tuple[Tensor, ...]:
        start = parameters(*START)
        return tuple(loop(name, start, weights, steps=3)[0].values())

    weights = WEIGHTS.clone().requires_grad_()
    assert torch.autograd.gradcheck(end, (weights,), atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("name", [name for name in VARIANTS if "momentum" in VARIANTS[name][1]])
def test_the_first_gradient_stays_in_the_momentum_buffer(name: str):
    start = parameters(*START)
    _, state = loop(name, start, WEIGHTS, steps=1)
    buffer = state["a"]["momentum_buffer"]
    assert torch.autograd.grad(buffer.sum(), start["a"])[0].abs().min() > 0


@pytest.mark.parametrize("size", [0.0, 1e-25, -1e-25, 1e-12])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_variant
def test_vanishing_gradients_have_finite_derivatives(name: str, dtype: torch.dtype, size: float):
    own = {"a": nn.Parameter(torch.ones(2, dtype=dtype))}
    optimizer = made(name, own)
    slope = torch.full((2,), size, dtype=dtype, requires_grad=True)
    params: Vector = {"a": own["a"].detach().requires_grad_()}
    state: OptimizerState = {}
    for _ in range(2):
        done = differentiable_step(optimizer, own, params, state, {"a": slope * 1.0})
        params, state = done.params, done.state
    assert params["a"].isfinite().all()
    (derivative,) = torch.autograd.grad(params["a"].sum(), slope, allow_unused=True)
    assert derivative is None or derivative.isfinite().all()


@each_variant
def test_a_scalar_in_float32_stays_one(name: str):
    own = {"a": nn.Parameter(torch.tensor(0.7))}
    optimizer = made(name, own)
    plain = nn.Parameter(torch.tensor(0.7))
    in_place = made(name, {"a": plain})
    params, state = dict(own), read_state(optimizer, own)
    for _ in range(3):
        plain.grad = 2 * plain.detach()
        in_place.step()
        done = differentiable_step(optimizer, own, params, state, {"a": 2 * params["a"]})
        params, state = done.params, done.state
    assert params["a"].dtype == torch.float32
    assert torch.allclose(params["a"], plain, rtol=1e-5)


@each_variant
def test_a_gradient_of_zero_moves_as_little_as_torch_does(name: str):
    plain = parameters(*START)
    in_place = made(name, plain)
    for param in plain.values():
        param.grad = torch.zeros_like(param)
    in_place.step()
    own = parameters(*START)
    zero = {key: torch.zeros_like(x) for key, x in own.items()}
    done = differentiable_step(made(name, own), own, own, {}, zero)
    for key, param in plain.items():
        assert torch.allclose(done.params[key], param, rtol=1e-6, atol=1e-6)


def test_a_parameter_without_a_gradient_is_handed_on():
    own = parameters(*START)
    optimizer = made("Adam", own)
    start = {key: (2 * x.detach()).requires_grad_() for key, x in own.items()}
    params = {key: x * 1.0 for key, x in start.items()}
    done = differentiable_step(optimizer, own, params, {}, {"b": torch.ones(3).double()})
    assert torch.equal(done.params["a"], params["a"])
    assert done.state.keys() == {"b"}
    (derivative,) = torch.autograd.grad(done.params["a"].sum(), start["a"])
    assert derivative.tolist() == [1.0, 1.0]


def test_without_any_gradient_nothing_happens():
    own = parameters(*START)
    state: OptimizerState = {"a": {"step": torch.tensor(3.0)}}
    done = differentiable_step(made("Adam", own), own, own, state, {})
    assert all(torch.equal(done.params[key], own[key]) for key in own)
    assert done.state == state


@each_variant
def test_the_optimiser_itself_stands_still(name: str):
    own = parameters(*START)
    optimizer = made(name, own)
    gradients = {key: torch.ones_like(x) for key, x in own.items()}
    state = differentiable_step(optimizer, own, own, {}, gradients).state
    write_state(optimizer, own, state)
    before = {key: x.detach().clone() for key, x in own.items()}
    kept = {
        (key, entry): torch.as_tensor(value).clone()
        for key, entries in read_state(optimizer, own).items()
        for entry, value in entries.items()
    }
    differentiable_step(optimizer, own, own, read_state(optimizer, own), gradients)
    assert all(torch.equal(own[key], before[key]) for key in own)
    for (key, entry), value in kept.items():
        assert torch.equal(torch.as_tensor(optimizer.state[own[key]][entry]), value)


def test_a_written_state_is_a_copy():
    """An ordinary step changes it in place, and what was recorded must stay."""
    own = parameters(*START)
    _, state = loop("Adam", own, WEIGHTS, steps=2)
    kept = {entry: x.detach().clone() for entry, x in state["a"].items()}
    optimizer = made("Adam", own)
    write_state(optimizer, own, state)
    loss(own, WEIGHTS).backward()
    optimizer.step()
    assert all(torch.equal(state["a"][entry], x) for entry, x in kept.items())


def test_options_may_be_those_of_another_time():
    own = parameters(*START)
    optimizer = made("SGD momentum", own)
    before = read_options(optimizer)
    slopes = {key: torch.ones_like(x) for key, x in own.items()}
    expected = differentiable_step(optimizer, own, own, {}, slopes)
    for group in optimizer.param_groups:
        group.update(lr=7.0, momentum=0.0)
    found = differentiable_step(optimizer, own, own, {}, slopes, before)
    assert all(torch.equal(found.params[key], x) for key, x in expected.params.items())
    assert found.state["a"].keys() == expected.state["a"].keys()
    present = differentiable_step(optimizer, own, own, {}, slopes)
    assert not torch.equal(present.params["a"], expected.params["a"])


def test_options_that_are_read_are_copies():
    own = parameters(*START)
    optimizer = torch.optim.Adam([*own.values()], lr=torch.tensor(0.1, dtype=torch.float64))
    options = read_options(optimizer)
    optimizer.param_groups[0]["lr"].fill_(0.7)
    assert float(options[0]["lr"]) == pytest.approx(0.1)
    assert "params" not in options[0]


def test_options_may_be_tensors_with_a_graph():
    own = parameters(*START)
    optimizer = torch.optim.SGD([*own.values()], lr=0.1)
    rate = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    slopes = {key: 2.0 * torch.ones_like(x) for key, x in own.items()}
    options = ({**read_options(optimizer)[0], "lr": rate},)
    done = differentiable_step(optimizer, own, own, {}, slopes, options)
    assert torch.allclose(done.params["a"], own["a"] - 0.6)
    (slope,) = torch.autograd.grad(done.params["a"].sum(), rate)
    assert float(slope) == -4.0


def test_a_written_state_has_no_graph_and_is_torchs_own():
    start = parameters(*START)
    _, state = loop("Adam", start, WEIGHTS, steps=2)
    own = parameters(*START)
    optimizer = made("Adam", own)
    write_state(optimizer, own, state)
    assert not optimizer.state[own["a"]]["exp_avg"].requires_grad
    assert read_state(optimizer, own)["a"]["step"] == 2
    loss(own, WEIGHTS).backward()
    optimizer.step()
    assert read_state(optimizer, own)["a"]["step"] == 3


SMALL = [(3, 2), (2,)] * 4
FOREACH = {
    "SGD": (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.1, "dampening": 0.2}),
    "SGD plain": (torch.optim.SGD, {"lr": 0.1}),
    "Adam": (torch.optim.Adam, {"lr": 0.1, "amsgrad": True, "weight_decay": 0.1}),
    "AdamW": (torch.optim.AdamW, {"lr": 0.1}),
    "RMSprop": (torch.optim.RMSprop, {"lr": 0.1, "momentum": 0.5, "centered": True}),
}


def stepped(optimizer: Optimizer, steps: int = 4) -> Tensor:
    params = [p for group in optimizer.param_groups for p in group["params"]]
    draw = torch.Generator().manual_seed(5)
    for _ in range(steps):
        for param in params:
            param.grad = torch.randn(param.shape, generator=draw, dtype=torch.float64).to(param)
        optimizer.step()
    return torch.cat([param.detach().flatten() for param in params])


def small(dtype: torch.dtype) -> list[nn.Parameter]:
    return [nn.Parameter(numbers(*shape, seed=i).to(dtype)) for i, shape in enumerate(SMALL)]


@pytest.mark.parametrize("name", FOREACH)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_steps_of_many_parameters_at_once_give_the_same_to_the_last_bit(
    name: str, dtype: torch.dtype
):
    kind, options = FOREACH[name]
    alone, at_once = kind(small(dtype), **options), kind(small(dtype), **options)
    step_at_once(at_once)
    assert at_once.param_groups[0]["foreach"] is True
    assert torch.equal(stepped(alone), stepped(at_once))


@pytest.mark.parametrize(
    "options",
    [{"foreach": False}, {"fused": True}, {"momentum": 0.9, "nesterov": True}],
    ids=["foreach", "fused", "nesterov"],
)
def test_what_was_said_of_steps_stands(options: dict[str, Any]):
    optimizer = torch.optim.SGD(small(torch.float32), lr=0.1, **options)
    before = optimizer.param_groups[0]["foreach"]
    step_at_once(optimizer)
    assert optimizer.param_groups[0]["foreach"] is before


def test_few_or_large_parameters_are_stepped_one_by_one():
    for shapes in (SMALL[:2], [(1024, 1024), (1,)] * 4):
        optimizer = torch.optim.Adam([nn.Parameter(torch.zeros(shape)) for shape in shapes])
        step_at_once(optimizer)
        assert optimizer.param_groups[0]["foreach"] is None


def test_what_makes_differentiable_steps_is_made_once(monkeypatch: pytest.MonkeyPatch):
    made_, init = [], Optimizer.__init__

    def noted(self: Optimizer, *args: Any, **kwargs: Any) -> None:
        made_.append(type(self))
        init(self, *args, **kwargs)

    own = parameters(*START)
    optimizer = torch.optim.Adam([*own.values()], lr=0.1)
    monkeypatch.setattr(Optimizer, "__init__", noted)
    state: OptimizerState = {}
    for _ in range(3):
        gradients = {name: torch.ones_like(x) for name, x in own.items()}
        state = differentiable_step(optimizer, own, own, state, gradients).state
    assert made_ == [torch.optim.Adam]


def test_a_step_leaves_its_graph_to_its_result_alone():
    own = parameters(*START)
    optimizer = torch.optim.Adam([*own.values()], lr=0.1)
    gradients = {name: (x.detach() * 2).requires_grad_() for name, x in own.items()}
    alive = [weakref.ref(x) for x in gradients.values()]
    done = differentiable_step(optimizer, own, own, {}, gradients)
    del gradients
    assert all(ref() is not None for ref in alive)
    del done
    gc.collect()
    assert all(ref() is None for ref in alive)
