"""Graphs of one and of two problems whose losses are sums of squares, to be bound."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from builders import bound, complaints, graph, line, pair, problem
from torch import Tensor

import mlograph
from mlograph.views import View

Upper = Mapping[str, Any]


def upper_loss(upper: View, lower: View) -> Tensor:
    return size(upper) + size(lower)


def lower_loss(lower: View, upper: View) -> Tensor:
    return size(lower) * size(upper)


def own_loss(a: View) -> Tensor:
    return size(a)


def nudge(problem: object) -> None: ...


def size(view: View) -> Tensor:
    return torch.stack([p.square().sum() for p in view.parameters()]).sum()


def alone(**changes: Any) -> mlograph.Graph:
    """A graph of one problem `a`, with some of its keys changed."""
    return graph({"a": problem(**{"module": line(), "loss": own_loss, **changes})})


def two(upper: Upper | None = None, lower: Upper | None = None, **rest: Any) -> mlograph.Graph:
    """A bilevel graph, with some keys of its problems changed."""
    return pair(
        problem(**{"module": line(), "loss": upper_loss, **(upper or {})}),
        problem(**{"module": line(), "loss": lower_loss, **(lower or {})}),
        **rest,
    )


def only(declared: mlograph.Graph) -> str:
    """The one fault of binding a graph."""
    (fault,) = complaints(lambda: bound(declared))
    return fault
