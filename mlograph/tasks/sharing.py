"""Tensors in memory that several processes see."""

from __future__ import annotations

import mmap
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

Key = tuple[str, ...]

# Where a tensor may begin, for every type of numbers and for vector instructions.
_ALIGNMENT = 64


@dataclass(frozen=True)
class Place:
    """Where a tensor lies, and its form."""

    offset: int
    shape: tuple[int, ...]
    dtype: torch.dtype


@dataclass(frozen=True)
class Layout:
    """The places of some tensors, and how many bytes they take."""

    places: Mapping[Key, Place]
    size: int

    @classmethod
    def of(cls, tensors: Mapping[Key, Tensor]) -> Layout:
        """One behind another."""
        places, end = {}, 0
        for key, tensor in tensors.items():
            places[key] = Place(end, tuple(tensor.shape), tensor.dtype)
            size = tensor.numel() * tensor.element_size()
            end += -(-size // _ALIGNMENT) * _ALIGNMENT
        return cls(places, max(end, _ALIGNMENT))


@final
class Block:
    """Tensors in a file that has no name; whoever has its descriptor sees the same numbers.

    Args:
        layout: of the tensors.
        descriptor: of the file; a new one by default.

    Attributes:
        tensors: by key; what is written into them is seen everywhere.
    """

    def __init__(self, layout: Layout, descriptor: int | None = None) -> None:
        self.layout = layout
        self.descriptor = _new(layout.size) if descriptor is None else descriptor
        memory = mmap.mmap(self.descriptor, layout.size)
        self.tensors = {key: _at(memory, place) for key, place in layout.places.items()}

    def close(self) -> None:
        """Gives the descriptor back; the memory goes with the last tensor in it."""
        os.close(self.descriptor)


def _new(size: int) -> int:
    if sys.platform == "linux":
        descriptor = os.memfd_create("mlograph")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return descriptor


def _at(memory: mmap.mmap, place: Place) -> Tensor:
    count = torch.Size(place.shape).numel()
    if not count:
        return torch.empty(place.shape, dtype=place.dtype)
    flat = torch.frombuffer(memory, dtype=place.dtype, count=count, offset=place.offset)
    return flat.view(place.shape)
