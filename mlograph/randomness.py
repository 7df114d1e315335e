"""The state of torch's random numbers, kept so that a loss can be evaluated twice alike."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from zlib import crc32

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class TorchRandomState:
    """State of the CPU generator, and of the CUDA generator where the run is on one."""

    cpu: Tensor
    cuda: Tensor | None

    @classmethod
    def capture(cls, device: torch.device) -> TorchRandomState:
        """The present state."""
        on_cuda = device.type == "cuda"
        return cls(torch.get_rng_state(), torch.cuda.get_rng_state(device) if on_cuda else None)

    def restore(self, device: torch.device) -> None:
        """Make this the present state again."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)

    @contextmanager
    def replayed(self, device: torch.device) -> Iterator[None]:
        """Draw the same numbers again inside, and leave no trace of it outside."""
        before = TorchRandomState.capture(device)
        self.restore(device)
        try:
            yield
        finally:
            before.restore(device)


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, from torch, numpy or Python, leaves no trace outside."""
    torchs = TorchRandomState.capture(device)
    numpys, pythons = np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torchs.restore(device)
        np.random.set_state(numpys)
        random.setstate(pythons)


def mixed(seed: int, *parts: int | str) -> int:
    """A seed that follows from `seed` and all of `parts`, as good as independent of others."""
    words = [crc32(part.encode()) if isinstance(part, str) else part for part in parts]
    low, high = np.random.SeedSequence([seed, *words]).generate_state(2)
    return int(low) + (int(high) << 32)


def seed_everything(seed: int) -> None:
    """Seed torch (all devices), numpy and Python."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)
