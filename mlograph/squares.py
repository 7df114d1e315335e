"""How large a model is, and how far two are apart, as one operation each way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.nn import functional as F


def squared_norm(tensors: Sequence[Tensor]) -> Tensor:
    """Σ ‖x‖², a 0-d tensor; differentiable as often as one likes, see `squared_distance`.

    Args:
        tensors: at least one.
    """
    if _are_single():
        return torch.stack([x.square().sum() for x in tensors]).sum()
    found: Tensor = _Squares.apply(len(tensors), *tensors)  # type: ignore[no-untyped-call]
    return found


def squared_distance(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> Tensor:
    """Σ ‖x − y‖² over pairs, a 0-d tensor; differentiable as often as one likes.

    An operation for each pair and each way takes longer than a small network does: autograd has
    one for all of them here. Under `torch.func`'s transforms and in compiled code, which both know
    single operations only, there is one for each.

    Args:
        ours: at least one.
        theirs: as many, of the same shapes.
    """
    if _are_single():
        pairs = zip(ours, theirs, strict=True)
        return torch.stack([F.mse_loss(x, y, reduction="sum") for x, y in pairs]).sum()
    found: Tensor = _Squares.apply(  # type: ignore[no-untyped-call]
        len(ours), *ours, *theirs
    )
    return found


def _are_single() -> bool:
    """Whether somebody traces or maps operations, and must see each of them."""
    return torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active()


@final
class _Squares(torch.autograd.Function):
    """s = Σ ‖x − y‖² for so many x and the y that follow them, or Σ ‖x‖² where none do."""

    @staticmethod
    def forward(ctx: Any, count: int, *tensors: Tensor) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.count = count
        sizes = torch.stack(torch._foreach_norm(_gaps(count, tensors)))
        return sizes.dot(sizes)

    @staticmethod
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            back = _Slopes.apply(  # type: ignore[no-untyped-call]
                ctx.count, slope, *ctx.saved_tensors
            )
        else:
            back = tuple(torch._foreach_mul(_gaps(ctx.count, ctx.saved_tensors), 2 * slope))
        return None, *_both(back, ctx.needs_input_grad[1:])


@final
class _Slopes(torch.autograd.Function):
    """2s̄(x − y) for each pair; of v, 2⟨v, x − y⟩ comes back for s̄ and 2s̄v for x."""

    @staticmethod
    def forward(ctx: Any, count: int, slope: Tensor, *tensors: Tensor) -> tuple[Tensor, ...]:
        ctx.save_for_backward(slope, *tensors)
        ctx.count = count
        return tuple(torch._foreach_mul(_gaps(count, tensors), 2 * slope))

    @staticmethod
    def backward(ctx: Any, *vectors: Tensor) -> tuple[Tensor | None, ...]:
        slope, *tensors = ctx.saved_tensors
        for_slope = None
        if ctx.needs_input_grad[1]:
            pairs = zip(vectors, _gaps(ctx.count, tensors), strict=True)
            for_slope = 2 * torch.stack([(v * x).sum() for v, x in pairs]).sum()
        if torch.is_grad_enabled():
            # With one factor for all of them, torch's own operation cannot be differentiated.
            back = tuple(2 * slope * v for v in vectors)
        else:
            back = tuple(torch._foreach_mul(vectors, 2 * slope))
        return None, for_slope, *_both(back, ctx.needs_input_grad[2:])


def _both(back: tuple[Tensor, ...], needed: Sequence[bool]) -> tuple[Tensor | None, ...]:
    """What comes back for x, and its negative for y, as far as there is one."""
    count = len(back)
    none = (None,) * count
    left = back if any(needed[:count]) else none
    if len(needed) == count:
        return left
    right = tuple(torch._foreach_neg(back)) if any(needed[count:]) else none
    return *left, *right


def _gaps(count: int, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """x − y for each pair, or x alone."""
    ours, theirs = tuple(tensors[:count]), tuple(tensors[count:])
    return tuple(torch._foreach_sub(ours, theirs)) if theirs else ours
