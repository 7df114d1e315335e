"""Rates from free numbers: positive, where it matters, and differentiable."""

from __future__ import annotations

import math

import pytest
import torch
from builders import failure
from torch import nn

from mlograph import rates
from mlograph.model import Model, ModelView
from mlograph.nn import MLP, Tensors, filled


def view(module: nn.Module) -> ModelView:
    return Model(module).live()


def test_one_number_is_a_positive_rate():
    module = Tensors(lr=[], init=2.0)
    found = rates.positive(view(module), scale=0.1)
    assert float(found.detach()) == pytest.approx(0.1 * math.exp(2.0))
    (slope,) = torch.autograd.grad(found, [*module.parameters()])
    assert float(slope) == pytest.approx(float(found.detach()))


def test_a_fraction_lies_between_0_and_1():
    for number, expected in ((0.0, 0.5), (30.0, 1.0), (-30.0, 0.0)):
        found = float(rates.fraction(view(Tensors(momentum=[1], init=number))).detach())
        assert found == pytest.approx(expected, abs=1e-6)


def test_a_schedule_ends_with_its_last_entry():
    module = Tensors(row=[3])
    with torch.no_grad():
        next(module.parameters()).copy_(torch.tensor([0.0, 1.0, 2.0]))
    found = [float(rates.schedule(view(module), step, scale=2.0).detach()) for step in range(5)]
    assert found == pytest.approx([2 * math.exp(x) for x in (0, 1, 2, 2, 2)])


def test_a_rate_for_each_number_has_the_names_and_shapes_of_the_module():
    module = filled(MLP([3, 2, 1]), -1.0)
    found = rates.per_parameter(view(module), scale=0.1)
    assert {n: x.shape for n, x in found.items()} == {
        n: p.shape for n, p in MLP([3, 2, 1]).named_parameters()
    }
    for tensor in found.values():
        assert torch.allclose(tensor, torch.full_like(tensor, 0.1 * math.exp(-1.0)))


def test_one_of_several_is_taken_by_its_name():
    several = view(Tensors(lr=[], decay=[], init={"decay": 1.0}))
    assert float(rates.positive(several, name="decay").detach()) == pytest.approx(math.e)
    assert failure(lambda: rates.positive(several)) == (
        "positive: name the parameter; candidates: lr, decay"
    )
    assert failure(lambda: rates.fraction(several, name="lrr")) == (
        "fraction: no parameter 'lrr' (did you mean 'lr'?)"
    )


def test_shapes_that_do_not_fit():
    assert failure(lambda: rates.positive(view(Tensors(row=[3])))) == (
        "positive: expected a single number, got shape (3,)"
    )
    assert failure(lambda: rates.schedule(view(Tensors(lr=[])), 0)) == (
        "schedule: expected a row of numbers, got shape ()"
    )
