"""Random numbers for libraries that draw them from the global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from mlograph.randomness import global_state, set_global_state, untouched

_CPU = torch.device("cpu")


class PrivateRandom:
    """States of Python's, NumPy's and torch's (CPU) global generators that belong to one owner.

    Inside `active()` the global generators continue from these states; outside, they are as if
    nothing had happened. What is drawn inside thus depends on the seed only, and draws outside do
    not depend on what happened inside.

    Args:
        seed: a whole number from 0.
    """

    def __init__(self, seed: int) -> None:
        with untouched(_CPU):
            _seed_all(seed)
            self._state = global_state()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the global generators continue from the private states, and keep where they end."""
        with untouched(_CPU):
            set_global_state(self._state)
            yield
            self._state = global_state()

    def state_dict(self) -> dict[str, Any]:
        """The states, in types that `torch.load(weights_only=True)` accepts."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._state = dict(state)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators, seeded; afterwards they are as before."""
    with untouched(_CPU):
        _seed_all(seed)
        yield


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed would seed the accelerators as well, whose states are not kept here.
    torch.default_generator.manual_seed(seed)
