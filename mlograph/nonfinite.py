"""Numbers that are not finite, found before they reach anything that stays."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import isfinite
from typing import Any, TypeGuard, final
from weakref import ReferenceType, ref

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mlograph import trees
from mlograph.batches import is_row
from mlograph.trees import Vector


@dataclass(frozen=True)
class Numbers:
    """What one backward pass saw and gave.

    Attributes:
        batch: the problem's data.
        loss: a scalar; None if it was never found.
        gradient: by parameter; empty if it shall not be looked at.
        kind: what the gradient is called.
        vetted: the batch is known to be finite.
    """

    batch: Any
    loss: Tensor | None = None
    gradient: Mapping[str, Tensor] | None = None
    kind: str = "gradient"
    vetted: bool = False

    def culprit(self) -> str | None:
        """The first tensor with a NaN or an infinity, in words; None where all are finite.

        All go into one number, so that the device is waited for once. Sums and norms may overflow
        where every entry is finite: only a bad number looks more closely.
        """
        sums = [] if self.vetted else [_sum(x) for x in _floats(self.batch)]
        if self.loss is not None:
            sums.append(self.loss.detach())
        if self.size is not None:
            sums.append(self.size)
        # What is not finite stays so, whatever is added.
        if not sums or isfinite(sum(sums[1:], sums[0]).item()):
            return None
        return next(self._bad(), None)

    @cached_property
    def size(self) -> Tensor | None:
        """‖gradient‖, a 0-d tensor without a graph; None where it is not looked at."""
        if not self.gradient:
            return None
        with torch.no_grad():
            return trees.norm(self.gradient)

    def _bad(self) -> Iterator[str]:
        for path, x in pytree.tree_flatten_with_path(self.batch)[0]:
            if _is_float(x) and not bool(x.isfinite().all()):
                yield f"'batch{pytree.keystr(path)}'"
        if self.loss is not None and not bool(self.loss.isfinite()):
            yield "the loss"
        worst = trees.first_non_finite(self.gradient or {})
        if worst is not None:
            yield f"the {self.kind} of '{worst}'"


def _floats(batch: Any) -> list[Tensor]:
    leaves = batch if is_row(batch) else pytree.tree_leaves(batch)
    return [leaf for leaf in leaves if _is_float(leaf)]


def _sum(x: Tensor) -> Tensor:
    return (torch.view_as_real(x) if x.is_complex() else x.detach()).sum()


def _is_float(leaf: object) -> TypeGuard[Tensor]:
    return isinstance(leaf, Tensor) and (leaf.is_floating_point() or leaf.is_complex())


@final
class Vetted:
    """Batches that were found finite, by problem.

    A sum over a batch costs as much as a small model, and an inner loop sees the same one again.
    """

    def __init__(self) -> None:
        self._leaves: dict[str, list[tuple[ReferenceType[Tensor], int]]] = {}
        self._rows: dict[str, tuple[Tensor, ...]] = {}

    def knows(self, name: str, batch: Any) -> bool:
        """Whether these are the tensors that were last found finite, unchanged."""
        seen = self._leaves.get(name)
        if seen is not None and batch is self._rows.get(name):
            return all((x := ref()) is not None and x._version == v for ref, v in seen)
        leaves = _floats(batch)
        return seen is not None and [(id(ref()), version) for ref, version in seen] == [
            (id(x), x._version) for x in leaves
        ]

    def add(self, name: str, batch: Any) -> None:
        """They were."""
        self._leaves[name] = [(ref(x), x._version) for x in _floats(batch)]
        # Nothing else can come into a tuple of tensors; it need not be looked through again.
        self._rows.pop(name, None)
        if isinstance(batch, tuple) and all(isinstance(x, Tensor) for x in batch):
            self._rows[name] = batch


@dataclass(frozen=True)
class Kept:
    """Copies of buffers that a pass may change (BatchNorm's running statistics)."""

    buffers: Mapping[str, Tensor]
    copies: Vector

    @classmethod
    def of(cls, buffers: Mapping[str, Tensor]) -> Kept:
        """The buffers as they are now."""
        return cls(buffers, {name: x.detach().clone() for name, x in buffers.items()})

    def restore(self) -> None:
        """Make the buffers what they were."""
        with torch.no_grad():
            for name, x in self.copies.items():
                self.buffers[name].copy_(x)
