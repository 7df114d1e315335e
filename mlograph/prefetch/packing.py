"""Objects as bytes for another process, where tensors are what they were to the last bit.

Kernels may round differently by how a tensor lies in memory: its strides and its alignment are kept
as well as its numbers.
"""

from __future__ import annotations

import io
import pickle
import random
from collections.abc import Collection
from types import FunctionType, MappingProxyType
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

# What the widest vector instructions and the libraries of linear algebra look at, in bytes.
_ALIGNMENT = 64


def packed(value: object, ours: Collection[int] = ()) -> bytes:
    """`value` as bytes.

    Args:
        value: of containers, tensors and whatever else can be pickled.
        ours: identities of objects that no copy can stand for.

    Raises:
        Exception: something in it cannot be sent; there are as many kinds as objects.
    """
    buffer = io.BytesIO()
    _Pickler(buffer, ours).dump(value)
    return buffer.getvalue()


def unpacked(data: bytes) -> Any:
    """The value, from a process of the same run."""
    return pickle.loads(data)


@final
class _Pickler(pickle.Pickler):
    def __init__(self, buffer: io.BytesIO, ours: Collection[int]) -> None:
        super().__init__(buffer, protocol=pickle.HIGHEST_PROTOCOL)
        self._ours = ours

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, FunctionType | type):
            if obj.__module__ == "__main__":
                raise pickle.PicklingError(
                    f"'{obj.__qualname__}' is defined in the script that was started; put it in a "
                    "module of its own"
                )
            return NotImplemented
        if id(obj) in self._ours:
            kind = "module" if isinstance(obj, nn.Module) else "parameter"
            raise pickle.PicklingError(f"it holds a {kind} that the run trains")
        if obj is torch.default_generator:
            return _torchs_generator, ()
        if obj is _numpys_generator():
            return _numpys_generator, ()
        if obj is _pythons_generator():
            return _pythons_generator, ()
        if type(obj) is MappingProxyType:
            return MappingProxyType, (dict(obj),)
        return _tensor(obj) if type(obj) is Tensor else NotImplemented


def _tensor(tensor: Tensor) -> Any:
    if tensor.device.type != "cpu":
        raise pickle.PicklingError(f"a tensor lies on {tensor.device}")
    if not _is_plain(tensor):
        return NotImplemented
    size, stride = tuple(tensor.shape), tuple(tensor.stride())
    if any(step == 0 and length > 1 for length, step in zip(size, stride, strict=True)):
        return NotImplemented
    flat = tensor.contiguous().reshape(-1).view(torch.uint8).numpy()
    place = tensor.data_ptr() % _ALIGNMENT
    return _rebuilt, (flat.tobytes(), tensor.dtype, size, stride, place)


def _rebuilt(
    data: Any, dtype: torch.dtype, size: tuple[int, ...], stride: tuple[int, ...], place: int
) -> Tensor:
    """A tensor of the same numbers that lies in memory as the one that was sent."""
    length = 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    width = dtype.itemsize
    if 0 in size:
        return torch.empty_strided(size, stride, dtype=dtype)
    memory = torch.empty(length + _ALIGNMENT // width, dtype=dtype)
    offset = (place - memory.data_ptr()) % _ALIGNMENT // width
    tensor = memory.as_strided(size, stride, offset)
    if tensor.is_contiguous():
        _fill(memory[offset : offset + length], data)
        return tensor
    numbers = torch.empty(size, dtype=dtype)
    _fill(numbers.reshape(-1), data)
    return tensor.copy_(numbers)


def _fill(flat: Tensor, data: Any) -> None:
    flat.view(torch.uint8).numpy()[:] = np.frombuffer(data, dtype=np.uint8)


def _is_plain(tensor: Tensor) -> bool:
    return (
        tensor.layout is torch.strided
        and not tensor.requires_grad
        and not tensor.is_conj()
        and not tensor.is_neg()
        and not tensor.is_quantized
        and tensor.data_ptr() % tensor.element_size() == 0
    )


def _torchs_generator() -> torch.Generator:
    return torch.default_generator


def _numpys_generator() -> Any:
    return np.random.mtrand._rand


def _pythons_generator() -> Any:
    return random._inst
