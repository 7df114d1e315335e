"""Normalisation that can be differentiated twice in little time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlograph.nn.folding import folded, is_mapped

_Given = tuple[Tensor, Tensor, Tensor]


class BatchNorm(nn.BatchNorm2d):
    """γ·x̂ + β with x̂ = (x − μ)/σ, where μ and σ are those of the batch at hand, by channel.

    `torch.nn.BatchNorm2d(features, track_running_stats=False)`, and the same numbers. torch writes
    the second derivative as some forty passes over the activations, which are half the time of a
    Hessian product through a ConvNet. Here it takes two fused ones and a few sums: the Jacobian of
    x̂ is P/σ with a symmetric P, so that all is made of P·g and P·v (see `_Slopes`).

    On the CPU; elsewhere, under `torch.func`'s transforms and in compiled code it is torch's own.

    Args:
        features: channels.

    Shapes:
        (n, features, height, width) → the same.
    """

    def __init__(self, features: int) -> None:
        super().__init__(features, track_running_stats=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """γ·x̂ + β."""
        self._check_input_dim(inputs)
        if is_mapped(inputs, self.weight):
            return folded(_Normalisation(self.eps), inputs, self.weight, self.bias)
        return _normalised(inputs, self.weight, self.bias, self.eps)


@dataclass(frozen=True)
class _Normalisation:
    """γ·x̂ + β; implements `folding.Layer`."""

    eps: float

    def __call__(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, tasks: int) -> Tensor:
        assert weight is not None and bias is not None, "γ and β are always there"
        return _normalised(x, weight, bias, self.eps)


def _normalised(x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
    if _is_plain(x, weight):
        return F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
    found: Tensor = _Normalised.apply(x, weight, bias, eps)  # type: ignore[no-untyped-call]
    return found


def _is_plain(inputs: Tensor, weight: Tensor) -> bool:
    """Whether torch's own function is taken: it is mapped over tasks, traced, moved and cast."""
    return (
        inputs.device.type != "cpu"
        or inputs.dtype != weight.dtype
        or inputs.numel() <= inputs.shape[1]
        or torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
    )


@final
class _Normalised(torch.autograd.Function):
    """γ·x̂ + β."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor, eps: float) -> Tensor:
        y, mean, inverse = torch.native_batch_norm(x, weight, bias, None, None, True, 0.0, eps)
        ctx.save_for_backward(x, weight, mean, inverse)
        ctx.eps = eps
        return y

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            found: _Given = _Slopes.apply(  # type: ignore[no-untyped-call]
                g, x, weight, mean, inverse, ctx.eps
            )
            return *found, None
        return *_slopes(g, x, weight, mean, inverse, ctx.eps), None


@final
class _Slopes(torch.autograd.Function):
    """∂L/∂x = γ/σ·Pg, ∂L/∂γ = B, ∂L/∂β = Σg for g = ∂L/∂y, where everything is by channel.

    With m entries in a channel, Pg = g − Σg/m − x̂·B/m and B = Σ g·x̂; likewise A = Σ v·x̂. Let v, w
    and u be what comes back for the three results. As ∂x̂ = P∂x/σ and ∂(1/σ) = −x̂/(mσ²)·∂x, and
    ⟨v, Pg⟩ = R with R = Σvg − Σv·Σg/m − A·B/m,

        for g:  γ/σ·Pv + w·x̂ + u
        for γ:  R/σ
        for x:  w/σ·Pg − γ/(mσ²)·(R·x̂ + B·Pv + A·Pg)
    """

    @staticmethod
    def forward(
        ctx: Any, g: Tensor, x: Tensor, weight: Tensor, mean: Tensor, inverse: Tensor, eps: float
    ) -> _Given:
        ctx.save_for_backward(g, x, weight, mean, inverse)
        ctx.eps = eps
        return _slopes(g, x, weight, mean, inverse, eps)

    @staticmethod
    def backward(ctx: Any, v: Tensor, w: Tensor, u: Tensor) -> tuple[Tensor | None, ...]:
        g, x, weight, mean, inverse = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_differentiable(g, x, weight, (v, w, u), ctx.eps), None, None, None
        return *_twice(g, x, weight, mean, inverse, (v, w, u), ctx.eps), None, None, None


def _slopes(
    g: Tensor, x: Tensor, weight: Tensor | None, mean: Tensor, inverse: Tensor, eps: float
) -> _Given:
    """γ/σ·Pg, B and Σg, for γ = 1 without a weight."""
    # Two orders in memory at once take torch six times as long.
    last = x.is_contiguous(memory_format=torch.channels_last)
    g = g.contiguous(memory_format=torch.channels_last if last else torch.contiguous_format)
    found: _Given = torch.ops.aten.native_batch_norm_backward(
        g, x, weight, None, None, mean, inverse, True, eps, [True, True, True]
    )
    return found


def _twice(
    g: Tensor,
    x: Tensor,
    weight: Tensor,
    mean: Tensor,
    inverse: Tensor,
    back: _Given,
    eps: float,
) -> _Given:
    """What comes back for g, x and γ."""
    v, w, u = back
    m = x.numel() // x.shape[1]
    # These two hold 1/σ already.
    pv, a, sum_v = _slopes(v, x, None, mean, inverse, eps)
    pg, b, sum_g = _slopes(g, x, None, mean, inverse, eps)
    r = (v * g).sum((0, 2, 3)) - (sum_v * sum_g + a * b) / m
    k = weight * inverse / m
    shift, slope = u - w * mean * inverse, w * inverse
    for_g = torch.addcmul(_wide(shift), x, _wide(slope)).addcmul_(pv, _wide(weight))
    turn = -k * r * inverse.square()
    for_x = torch.addcmul(_wide(-turn * mean), x, _wide(turn))
    for_x = for_x.addcmul_(pv, _wide(-k * b)).addcmul_(pg, _wide(w - k * a))
    return for_g, for_x, r * inverse


def _differentiable(g: Tensor, x: Tensor, weight: Tensor, back: _Given, eps: float) -> _Given:
    """The same by autograd, which can go on."""
    # Aliases: g may have come from x, and what comes back for x is none of g's.
    g, x, weight = g.view_as(g), x.view_as(x), weight.view_as(weight)
    with torch.enable_grad():
        bias = torch.zeros_like(weight).requires_grad_()
        y = F.batch_norm(x, None, None, weight, bias, training=True, eps=eps)
        slopes = torch.autograd.grad(y, (x, weight, bias), g, create_graph=True)
        for_g, for_x, for_weight = torch.autograd.grad(
            slopes, (g, x, weight), back, create_graph=True
        )
    return for_g, for_x, for_weight


def _wide(channels: Tensor) -> Tensor:
    return channels.view(1, -1, 1, 1)
