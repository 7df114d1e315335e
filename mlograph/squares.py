"""How far two models are apart, as one operation each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F


def squared_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Σ ‖x − y‖² over pairs, a 0-d tensor; differentiable as often as one likes.

    An operation for each pair and each way takes longer than a small network does: autograd has
    one for all of them here. Under `torch.func`'s transforms and in compiled code, which both know
    single operations only, there is one for each.

    Args:
        ours: at least one.
        theirs: as many, of the same shapes.
    """
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        pairs = zip(ours, theirs, strict=True)
        return torch.stack([F.mse_loss(x, y, reduction="sum") for x, y in pairs]).sum()
    found: Tensor = _SquaredDistance.apply(*ours, *theirs)  # type: ignore[no-untyped-call]
    return found


@final
class _SquaredDistance(torch.autograd.Function):
    """s = Σ ‖x − y‖²."""

    @staticmethod
    def forward(ctx: Any, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        sizes = torch.stack(torch._foreach_norm(_differences(tensors)))
        return sizes.dot(sizes)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            back = _Slopes.apply(slope, *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        else:
            back = tuple(torch._foreach_mul(_differences(ctx.saved_tensors), 2 * slope))
        return _both(back, ctx.needs_input_grad)


@final
class _Slopes(torch.autograd.Function):
    """2s̄(x − y) for each pair; of v, 2⟨v, x − y⟩ comes back for s̄ and 2s̄v for x."""

    @staticmethod
    def forward(ctx: Any, slope: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(slope, *tensors)
        return tuple(torch._foreach_mul(_differences(tensors), 2 * slope))

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor) -> tuple[Tensor | None, ...]:
        slope, *tensors = ctx.saved_tensors
        for_slope = None
        if ctx.needs_input_grad[0]:
            pairs = zip(vectors, _differences(tensors), strict=True)
            for_slope = 2 * torch.stack([(v * x).sum() for v, x in pairs]).sum()
        if torch.is_grad_enabled():
            # With one factor for all of them, torch's own operation cannot be differentiated.
            back = tuple(2 * slope * v for v in vectors)
        else:
            back = tuple(torch._foreach_mul(vectors, 2 * slope))
        return for_slope, *_both(back, ctx.needs_input_grad[1:])


def _both(back: tuple[Tensor, ...], needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """What comes back for x, and its negative for y."""
    none = (None,) * len(back)
    left = back if any(needed[: len(back)]) else none
    right = tuple(torch._foreach_neg(back)) if any(needed[len(back) :]) else none
    return *left, *right


def _differences(tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    half = len(tensors) // 2
    return tuple(torch._foreach_sub(tuple(tensors[:half]), tuple(tensors[half:])))
