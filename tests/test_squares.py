"""Squared norms and distances: the numbers of the definition, as often as differentiated."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.autograd import grad
from torch.func import vmap

from mlograph.squares import squared_distance, squared_norm


def vectors() -> tuple[list[Tensor], list[Tensor]]:
    draw = torch.Generator().manual_seed(0)
    shapes = [(2, 3), (4,), ()]
    ours, theirs = (
        [torch.randn(s, generator=draw, dtype=torch.float64).requires_grad_() for s in shapes]
        for _ in range(2)
    )
    return ours, theirs


def by_definition(ours: list[Tensor], theirs: list[Tensor]) -> Tensor:
    return torch.stack([(x - y).square().sum() for x, y in zip(ours, theirs, strict=True)]).sum()


def test_it_is_the_sum_of_all_squares():
    ours, theirs = vectors()
    assert torch.allclose(squared_distance(ours, theirs), by_definition(ours, theirs))


@pytest.mark.parametrize("apart", [1.0, 0.0])
def test_first_and_second_derivatives_are_those_of_the_definition(apart: float):
    ours, theirs = vectors()
    with torch.no_grad():
        for x, y in zip(ours, theirs, strict=True):
            x.copy_(y + apart * (x - y))
    found = []
    for distance in (squared_distance, by_definition):
        first = grad(distance(ours, theirs).exp(), [*ours, *theirs], create_graph=True)
        pulled = torch.stack([(x * (i + 1)).sum() for i, x in enumerate(first)]).sum()
        found.append([*first, *grad(pulled, [*ours, *theirs])])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-12, atol=1e-12)


def test_third_derivatives_are_those_of_the_definition():
    ours, theirs = vectors()
    found = []
    for distance in (squared_distance, by_definition):
        slopes = grad(distance(ours, theirs).exp(), ours, create_graph=True)
        size = torch.stack([x.square().sum() for x in slopes]).sum()
        again = grad(size.log(), [*ours, *theirs], create_graph=True)
        cubes = torch.stack([(x**3).sum() for x in again]).sum()
        found.append(grad(cubes, [*ours, *theirs]))
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9)


def test_only_what_is_asked_for_comes_back():
    ours, theirs = vectors()
    (slope,) = grad(squared_distance([ours[0].detach()], [theirs[0]]), [theirs[0]])
    assert torch.allclose(slope, 2 * (theirs[0] - ours[0]))
    assert not squared_distance([ours[1].detach()], [theirs[1].detach()]).requires_grad


def test_autograd_has_one_operation_for_all_pairs():
    ours, theirs = vectors()
    node = squared_distance(ours, theirs).grad_fn
    assert node is not None
    leaves = {following.name() for following, _ in node.next_functions}
    assert leaves == {"torch::autograd::AccumulateGrad"}


def test_it_can_be_mapped_over_tasks():
    (x, *_), (y, *_) = vectors()
    mapped = vmap(lambda row: squared_distance([row], [y[0]]))(x)
    assert torch.allclose(mapped, (x - y[0]).square().sum(1))


def norm_by_definition(tensors: list[Tensor]) -> Tensor:
    return torch.stack([x.square().sum() for x in tensors]).sum()


def test_a_norm_and_its_first_three_derivatives_are_those_of_the_definition():
    tensors, _ = vectors()
    found = []
    for norm in (squared_norm, norm_by_definition):
        size = norm(tensors)
        first = grad(size.exp().log1p(), tensors, create_graph=True)
        second = grad(norm_by_definition([*first]).log(), tensors, create_graph=True)
        third = grad(torch.stack([(x**3).sum() for x in second]).sum(), tensors)
        found.append([size, *first, *second, *third])
    for one, other in zip(*found, strict=True):
        assert torch.allclose(one, other, rtol=1e-9)


def test_a_norm_is_mapped_over_tasks():
    draw = torch.Generator().manual_seed(1)
    stack = torch.randn(3, 4, generator=draw, dtype=torch.float64)
    assert torch.allclose(vmap(lambda x: squared_norm([x]))(stack), stack.square().sum(1))
