"""What a loss function gave back, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from mlograph.errors import UsageError, did_you_mean


@dataclass(frozen=True)
class Returned:
    """One term of a loss.

    Attributes:
        loss: a 0-d tensor with its graph; without one where there is a field.
        metrics: 0-d tensors without a graph.
        field: what the problem descends in place of the term's gradient, if the term says so.
    """

    loss: Tensor
    metrics: Mapping[str, Tensor]
    field: dict[str, Tensor] | None = None


def read(value: object, place: str, params: Mapping[str, Tensor]) -> Returned:
    """Read a scalar tensor, or a mapping with `loss`, metrics and perhaps a `field`.

    Args:
        value: what the loss function gave.
        place: where it stands in the graph, for messages.
        params: the trainable parameters of its problem.

    Raises:
        UsageError: it is nothing of the kind.
    """
    if not isinstance(value, Mapping):
        return Returned(_scalar(value, place), {})
    if "loss" not in value:
        raise UsageError(f"{place}: the loss returned no 'loss'")
    loss = _scalar(value["loss"], place)
    metrics = {k: _metric(k, v, place) for k, v in value.items() if k not in {"loss", "field"}}
    if "field" not in value:
        return Returned(loss, metrics)
    return Returned(loss.detach(), metrics, _field(value["field"], place, params))


def _scalar(value: object, place: str) -> Tensor:
    if not isinstance(value, Tensor) or value.numel() != 1:
        message = f"{place}: expected a scalar tensor, got {_described(value)}"
        raise UsageError(f"{message}{_way_out(value)}")
    return value.reshape(()) if value.dim() else value


def _way_out(value: object) -> str:
    """What its user meant, in parentheses; empty where that cannot be told."""
    if isinstance(value, Tensor):
        return " (its mean or its sum is one)"
    if value is None:
        return " (does the function end with a return?)"
    if isinstance(value, float):
        return " (without .item() it is one)"
    return ""


def _metric(name: str, value: object, place: str) -> Tensor:
    if isinstance(value, int | float):
        return torch.tensor(float(value))
    if not isinstance(value, Tensor) or value.numel() != 1:
        raise UsageError(
            f"{place}: expected a number for the metric '{name}', got {_described(value)}"
        )
    return value.detach().reshape(()) if value.dim() else value.detach()


def _field(value: object, place: str, params: Mapping[str, Tensor]) -> dict[str, Tensor]:
    if not isinstance(value, Mapping):
        raise UsageError(
            f"{place}: 'field' maps every parameter's name to a tensor, got {_described(value)}"
        )
    for name in value.keys() - params.keys():
        hint = did_you_mean(str(name), params)
        raise UsageError(
            f"{place}: '{name}' in 'field' is no trainable parameter{f' ({hint})' if hint else ''}"
        )
    for name, param in params.items():
        if name not in value:
            raise UsageError(f"{place}: 'field' has nothing for the parameter '{name}'")
        if not isinstance(value[name], Tensor) or value[name].shape != param.shape:
            raise UsageError(
                f"{place}: expected a tensor of shape {tuple(param.shape)} for '{name}' in "
                f"'field', got {_described(value[name])}"
            )
    return {name: value[name].to(param.dtype) for name, param in params.items()}


def _described(value: object) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return "None" if value is None else f"a {type(value).__name__}"
