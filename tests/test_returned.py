"""What loss functions give back, and what is wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mlograph.errors import UsageError
from mlograph.returned import read

PARAMS = {"head": torch.zeros(1), "tail": torch.zeros(3)}
FIELD = {"tail": torch.arange(3.0), "head": torch.ones(1)}


def test_a_loss_is_read_with_its_graph():
    x = torch.ones(1, requires_grad=True)
    for value in (2 * x, {"loss": 2 * x}):
        found = read(value, "here", PARAMS)
        assert found.loss.shape == ()
        assert found.loss.requires_grad
        assert found.field is None


def test_a_field_takes_the_place_of_the_gradient():
    x = torch.ones(1, requires_grad=True)
    field = {name: tensor * x for name, tensor in FIELD.items()}
    found = read({"loss": x, "field": field, "gap": 3.0}, "here", PARAMS)
    assert not found.loss.requires_grad
    assert found.metrics.keys() == {"gap"}
    assert found.field is not None
    assert [*found.field] == [*PARAMS]
    assert all(torch.equal(found.field[name], field[name]) for name in PARAMS)
    assert all(tensor.requires_grad for tensor in found.field.values())


def test_a_field_has_the_precision_of_the_parameters():
    field = {name: tensor.bfloat16() for name, tensor in FIELD.items()}
    found = read({"loss": torch.ones(()), "field": field}, "here", PARAMS).field
    assert found is not None
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (torch.ones(4), "'field' maps every parameter's name to a tensor, got a tensor of shape"),
        (FIELD | {"tial": torch.ones(3)}, "'tial' in 'field' is no trainable parameter (did you"),
        (FIELD | {7: torch.ones(3)}, "'7' in 'field' is no trainable parameter"),
        ({"tail": torch.ones(3)}, "'field' has nothing for the parameter 'head'"),
        (
            FIELD | {"tail": torch.ones(3, 1)},
            "expected a tensor of shape (3,) for 'tail' in 'field', got a tensor of shape (3, 1)",
        ),
        (
            FIELD | {"head": 1.0},
            "expected a tensor of shape (1,) for 'head' in 'field', got a float",
        ),
    ],
)
def test_a_field_is_one_tensor_for_each_trainable_parameter(field: Any, message: str):
    with pytest.raises(UsageError) as caught:
        read({"loss": torch.ones(()), "field": field}, "problems.game.loss", PARAMS)
    assert str(caught.value).startswith(f"problems.game.loss: {message}")
