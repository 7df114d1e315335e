"""Vector-space operations on named tensors.

A `Vector` maps parameter names to tensors: a gradient, an adjoint, a direction. All vectors that
meet in one operation have the same names. Inner products return 0-d tensors on the device.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

Vector = dict[str, Tensor]


def add(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Vector:
    """left + right."""
    if not left and not right:
        return {}
    return _named(left, torch._foreach_add(_tensors(left), _aligned(right, left)))


def axpy(factor: float, left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Vector:
    """factor · left + right."""
    if not left and not right:
        return {}
    return _named(right, torch._foreach_add(_tensors(right), _aligned(left, right), alpha=factor))


def scale(factor: float, vector: Mapping[str, Tensor]) -> Vector:
    """factor · vector."""
    return _named(vector, torch._foreach_mul(_tensors(vector), factor)) if vector else {}


def merge(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Vector:
    """left + right, where a name that only one of them has stands for a zero in the other."""
    merged = dict(left)
    for name, tensor in right.items():
        merged[name] = merged[name] + tensor if name in merged else tensor
    return merged


def dot(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Tensor:
    """⟨left, right⟩, a 0-d tensor."""
    products = torch._foreach_mul(_tensors(left), _aligned(right, left))
    return torch.stack([product.sum() for product in products]).sum()


def norm(vector: Mapping[str, Tensor]) -> Tensor:
    """‖vector‖₂ over all tensors together, a 0-d tensor (0 for no tensors); differentiable."""
    if not vector:
        return torch.zeros(())
    size: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(_tensors(vector))))
    return size


def zeros_like(vector: Mapping[str, Tensor]) -> Vector:
    """The zero vector with the names and shapes of `vector`."""
    return {name: torch.zeros_like(tensor) for name, tensor in vector.items()}


def detached(vector: Mapping[str, Tensor]) -> Vector:
    """The same numbers without a graph."""
    return {name: tensor.detach() for name, tensor in vector.items()}


def first_non_finite(vector: Mapping[str, Tensor]) -> str | None:
    """The name of a tensor with a NaN or an infinity, or None where all are finite."""
    if not vector or bool(norm(vector).isfinite()):
        return None
    # A norm can overflow where every entry is finite.
    return next((name for name, x in vector.items() if not bool(x.isfinite().all())), None)


def flatten(vector: Mapping[str, Tensor]) -> Tensor:
    """All entries in one 1-d tensor, in the order of the names."""
    return torch.cat([tensor.reshape(-1) for tensor in vector.values()])


def unflatten(flat: Tensor, like: Mapping[str, Tensor]) -> Vector:
    """The inverse of `flatten`: the entries of `flat` in the shapes of `like`."""
    pieces = flat.split([tensor.numel() for tensor in like.values()])
    return {
        name: piece.view_as(tensor)
        for piece, (name, tensor) in zip(pieces, like.items(), strict=True)
    }


def _tensors(vector: Mapping[str, Tensor]) -> list[Tensor]:
    return list(vector.values())


def _aligned(vector: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> list[Tensor]:
    assert vector.keys() == like.keys(), "vectors of different spaces met"
    return [vector[name] for name in like]


def _named(like: Mapping[str, Tensor], tensors: tuple[Tensor, ...] | list[Tensor]) -> Vector:
    return dict(zip(like, tensors, strict=True))
