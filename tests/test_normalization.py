"""Normalisation by the batch: torch's own numbers, and its derivatives of every order."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, channels_last, contiguous_format, nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.func import functional_call, vmap
from torch.nn import functional as F

from mlograph.nn import BatchNorm, ConvNet

Given = tuple[Tensor, Tensor, Tensor]

orders = pytest.mark.parametrize("order", [contiguous_format, channels_last])


def given(order: torch.memory_format = contiguous_format) -> Given:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(4, 3, 5, 2, generator=draw, dtype=torch.float64)
    weight = torch.tensor([0.7, 0.0, -1.3], dtype=torch.float64)
    bias = torch.randn(3, generator=draw, dtype=torch.float64)
    return (
        x.to(memory_format=order).requires_grad_(),
        weight.requires_grad_(),
        bias.requires_grad_(),
    )


def ours(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y: Tensor = functional_call(BatchNorm(3), {"weight": weight, "bias": bias}, (x,))
    return y


def of_torch(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.batch_norm(x, None, None, weight, bias, training=True)


@orders
def test_values_are_those_of_torch(order: torch.memory_format):
    assert torch.equal(ours(*given(order)), of_torch(*given(order)))


@orders
def test_derivatives_are_those_of_finite_differences(order: torch.memory_format):
    assert gradcheck(ours, given(order), check_undefined_grad=False)
    assert gradgradcheck(ours, given(order), check_undefined_grad=False)


@orders
def test_derivatives_of_all_orders_are_those_of_torch(order: torch.memory_format):
    found = []
    for normalise in (ours, of_torch):
        inputs = given(order)
        first = grad(normalise(*inputs).sin().sum(), inputs, create_graph=True)
        second = grad(sum((x * x.cos()).sum() for x in first), inputs, create_graph=True)
        alone = grad(sum((x * x.cos()).sum() for x in first), inputs, retain_graph=True)
        third = grad(sum((x**3).sum() for x in second), inputs)
        found.append((*first, *second, *alone, *third))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9, atol=1e-9)


def test_only_what_is_asked_for_comes_back():
    x, weight, bias = (z.detach() for z in given())
    weight.requires_grad_()
    (slope,) = grad(ours(x, weight, bias).square().sum(), weight, create_graph=True)
    expected = grad(of_torch(x, weight, bias).square().sum(), weight, create_graph=True)
    assert torch.allclose(slope, *expected)
    assert torch.allclose(*grad(slope.sum(), weight), *grad(expected[0].sum(), weight))


def test_tasks_can_be_mapped_and_differentiated_twice():
    _, weight, bias = given()
    x = torch.randn(2, 4, 3, 5, 2, dtype=torch.float64)

    def loss(weight: Tensor, x: Tensor) -> Tensor:
        return ours(x, weight, bias).pow(3).sum()

    tasks = torch.stack([weight.detach(), weight.detach() + 1]).requires_grad_()
    (first,) = grad(vmap(loss)(tasks, x).sum(), tasks, create_graph=True)
    (second,) = grad(first.square().sum(), tasks)
    for i in range(2):
        alone = tasks[i].detach().requires_grad_()
        (slope,) = grad(loss(alone, x[i]), alone, create_graph=True)
        assert torch.allclose(first[i], slope)
        assert torch.allclose(second[i], *grad(slope.square().sum(), alone))


def test_what_cannot_be_normalised_is_said_as_torch_says_it():
    norm = BatchNorm(3)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        norm(torch.ones(1, 3, 1, 1))
    with pytest.raises(ValueError, match="expected 4D input"):
        norm(torch.ones(1, 3))


def test_a_hessian_product_through_a_convnet_has_none_of_torchs_long_formula():
    net = ConvNet(3, hidden=4)
    params = [*net.parameters()]
    slopes = grad(net(torch.randn(4, 1, 28, 28)).square().sum(), params, create_graph=True)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        grad(slopes, params, [x.detach() for x in slopes])
    names = {event.key for event in profile.key_averages()}
    assert "_SlopesBackward" in names
    assert not any("NativeBatchNormBackwardBackward" in name for name in names)


def test_convolutions_of_a_convnet_lie_in_the_order_in_which_pooling_is_fast():
    features = ConvNet(3, hidden=4).features
    x = features[0](torch.randn(2, 1, 28, 28))
    assert x.is_contiguous(memory_format=channels_last)
    assert isinstance(features[0][1], nn.BatchNorm2d)
