"""What a call costs."""

from __future__ import annotations

import statistics
import time
import weakref
from collections import Counter
from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

# Seconds after which a call is not repeated.
_LONG = 3.0


def seconds(call: Callable[[], object], repeats: int, device: torch.device) -> float:
    """The median time of a call over `repeats` of them, fewer where one takes long."""
    times: list[float] = []
    while len(times) < repeats and sum(times) < _LONG:
        began = time.perf_counter()
        call()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def megabytes(call: Callable[[], object], device: torch.device) -> float:
    """Memory that a call takes at its peak.

    On a GPU, all that torch allocates in it. On the CPU, where torch does not count, the tensors
    that autograd keeps for derivatives, each storage once; what a solver holds beside them (the
    matrix of `exact`, the basis of `gmres`) is not in it.
    """
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        call()
        return (torch.cuda.max_memory_allocated(device) - before) / 2**20
    kept = _Kept()
    with saved_tensors_hooks(kept.pack, kept.unpack):
        call()
    return kept.peak / 2**20


@final
class _Kept:
    """Storages that autograd holds on to: how many bytes now, and how many at the most."""

    def __init__(self) -> None:
        self.peak = 0
        self._present = 0
        self._holders: Counter[int] = Counter()

    def pack(self, tensor: Tensor) -> _Held:
        """Count a tensor in, until nobody holds what is returned."""
        storage = tensor.untyped_storage()
        address, size = storage.data_ptr(), storage.nbytes()
        self._holders[address] += 1
        if self._holders[address] == 1:
            self._present += size
            self.peak = max(self.peak, self._present)
        held = _Held(tensor)
        weakref.finalize(held, self._release, address, size)
        return held

    def unpack(self, held: Any) -> Tensor:
        """The tensor again."""
        tensor: Tensor = held.tensor
        return tensor

    def _release(self, address: int, size: int) -> None:
        self._holders[address] -= 1
        if not self._holders[address]:
            self._present -= size


@final
class _Held:
    """A saved tensor, whose end can be noticed."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor
