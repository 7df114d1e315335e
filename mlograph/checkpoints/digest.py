"""One number for a whole state: two runs that agree in it agree in every bit."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor


def digest(state: Any) -> str:
    """SHA-256 of a packed state, the order of keys apart."""
    found = hashlib.sha256()
    for part in _parts(state):
        found.update(part)
    return found.hexdigest()


def unequal(left: Any, right: Any, place: str = "") -> Iterator[str]:
    """Where two packed states differ."""
    if isinstance(left, dict) and isinstance(right, dict):
        for key in sorted(left.keys() | right.keys(), key=repr):
            at = f"{place}.{key}" if place else str(key)
            if key in left and key in right:
                yield from unequal(left[key], right[key], at)
            else:
                yield at
    elif isinstance(left, list | tuple) and type(left) is type(right) and len(left) == len(right):
        for index, (one, other) in enumerate(zip(left, right, strict=True)):
            yield from unequal(one, other, f"{place}[{index}]")
    elif digest(left) != digest(right):
        yield place


def _parts(value: Any) -> Iterator[bytes]:
    if isinstance(value, Tensor):
        yield f"tensor {value.dtype} {tuple(value.shape)} {value.device.type}".encode()
        flat = value.detach().cpu().to_dense() if value.is_sparse else value.detach().cpu()
        yield flat.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
    elif isinstance(value, Mapping):
        yield f"mapping {len(value)}".encode()
        for key in sorted(value, key=repr):
            yield repr(key).encode()
            yield from _parts(value[key])
    elif isinstance(value, list | tuple) and not isinstance(value, torch.Size):
        yield f"{type(value).__name__} {len(value)}".encode()
        for item in value:
            yield from _parts(item)
    else:
        yield repr(value).encode()
