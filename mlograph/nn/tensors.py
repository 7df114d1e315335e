"""Bare numbers as modules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from mlograph.errors import UsageError, did_you_mean


class Tensors(nn.Module):
    """Bare tensors as a module: `Tensors(weights=[5000])` has one parameter of 5000 zeros.

    Calling it gives the tensors by name.

    Args:
        init: the value of every entry, or one value for each name.
        shapes: the shape of each tensor; `[]` makes a scalar, a number is short for one axis.

    Raises:
        UsageError: no tensors, a name that a module cannot give, or `init` names no tensor.
    """

    def __init__(
        self, init: float | Mapping[str, float] = 0.0, **shapes: Sequence[int] | int
    ) -> None:
        super().__init__()
        if not shapes:
            raise UsageError("Tensors: give at least one name and shape, as in weights: [5000]")
        if isinstance(init, Mapping):
            for name in init:
                if name not in shapes:
                    raise UsageError(f"init: no tensor '{name}' ({did_you_mean(name, shapes)})")
        for name, shape in shapes.items():
            value = init.get(name, 0.0) if isinstance(init, Mapping) else init
            sizes = (shape,) if isinstance(shape, int) else tuple(shape)
            tensor = torch.full(sizes, float(value), dtype=torch.get_default_dtype())
            try:
                self.register_parameter(name, nn.Parameter(tensor))
            except KeyError:
                raise UsageError(
                    f"Tensors: '{name}' cannot name a tensor, choose another"
                ) from None

    def forward(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return dict(self.named_parameters())


class Table(nn.Module):
    """A row of numbers for each of some numbered things: a policy, or a value, of cells.

    Args:
        rows: how many things.
        width: numbers of each.
        init: what all of them start as.

    Shapes:
        int64 (…) → (…, width).

    Raises:
        UsageError: no rows, or rows of nothing.
    """

    def __init__(self, rows: int, width: int = 1, init: float = 0.0) -> None:
        super().__init__()
        for name, size in {"rows": rows, "width": width}.items():
            if size < 1:
                raise UsageError(f"{name}: must be at least 1, got {size}")
        self.rows = nn.Parameter(torch.full((rows, width), float(init)))

    def forward(self, numbers: Tensor) -> Tensor:
        """The rows that `numbers` (…) name: (…, width)."""
        found: Tensor = self.rows[numbers]
        return found
