"""Vector-space operations on named tensors.

A `Vector` maps parameter names to tensors: a gradient, an adjoint, a direction. All vectors that
meet in one operation have the same names. Inner products return 0-d tensors on the device.

Several tasks may be held in one vector, whose tensors then begin with an axis of tasks. Only what
is named `…_each` knows of it: it takes and gives one number for each task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from math import inf, isnan

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


def numbers(*scalars: Tensor) -> list[float]:
    """0-d tensors of one device as numbers, for which the device is waited for once."""
    if len(scalars) == 1:
        return [float(scalars[0])]
    found: list[float] = torch.stack(scalars).tolist()
    return found


def length(vector: Mapping[str, Tensor]) -> float:
    """‖vector‖₂ as a number, also where squares of its entries overflow or vanish."""
    size = float(norm(vector))
    if 1e-15 < size < 1e15 or isnan(size):
        return size
    largest = max((float(x.abs().max()) for x in vector.values() if x.numel()), default=0.0)
    if not 0.0 < largest < inf:
        return largest
    return largest * float(norm(over(largest, vector)))


def over(divisor: float, vector: Mapping[str, Tensor]) -> Vector:
    """vector / divisor, also where 1/divisor overflows."""
    return _named(vector, torch._foreach_div(_tensors(vector), divisor)) if vector else {}


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


def dot_each(left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Tensor:
    """⟨left, right⟩ of each task, (tasks,)."""
    products = torch._foreach_mul(_tensors(left), _aligned(right, left))
    return torch.stack([product.flatten(1).sum(1) for product in _rows(products)]).sum(0)


def norm_each(vector: Mapping[str, Tensor]) -> Tensor:
    """‖vector‖₂ of each task, (tasks,); differentiable."""
    sizes = [torch.linalg.vector_norm(x.flatten(1), dim=1) for x in _rows(_tensors(vector))]
    size: Tensor = torch.linalg.vector_norm(torch.stack(sizes), dim=0)
    return size


def scale_each(factors: Tensor, vector: Mapping[str, Tensor]) -> Vector:
    """factors (tasks,) · vector."""
    return {name: x * factors.view(-1, *(1,) * (x.dim() - 1)) for name, x in vector.items()}


def axpy_each(factors: Tensor, left: Mapping[str, Tensor], right: Mapping[str, Tensor]) -> Vector:
    """factors (tasks,) · left + right."""
    return add(scale_each(factors, left), right)


def task(vector: Mapping[str, Tensor], index: int) -> Vector:
    """One of the tasks that a vector holds."""
    return {name: x[index] for name, x in vector.items()}


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


def fitting_names(names: tuple[str, ...], pattern: str) -> tuple[str, ...]:
    """Those of `names` that a glob fits; follows from its arguments alone."""
    return tuple(name for name in names if fnmatchcase(name, pattern))


def _tensors(vector: Mapping[str, Tensor]) -> list[Tensor]:
    return list(vector.values())


def _rows(tensors: Iterable[Tensor]) -> list[Tensor]:
    """One row for each task, of one number at least."""
    return [x.unsqueeze(1) if x.dim() == 1 else x for x in tensors]


def _aligned(vector: Mapping[str, Tensor], like: Mapping[str, Tensor]) -> list[Tensor]:
    assert vector.keys() == like.keys(), "vectors of different spaces met"
    return [vector[name] for name in like]


def _named(like: Mapping[str, Tensor], tensors: tuple[Tensor, ...] | list[Tensor]) -> Vector:
    return dict(zip(like, tensors, strict=True))
