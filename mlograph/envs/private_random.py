"""Random numbers for libraries that draw them from the global generators."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


class PrivateRandom:
    """States of Python's, NumPy's and torch's (CPU) global generators that belong to one owner.

    Inside `active()` the global generators continue from these states; outside, they are as if
    nothing had happened. What is drawn inside thus depends on the seed only, and draws outside do
    not depend on what happened inside.

    Args:
        seed: a whole number from 0.
    """

    def __init__(self, seed: int) -> None:
        with _restored():
            _seed_all(seed)
            self._state = _states()

    @contextmanager
    def active(self) -> Iterator[None]:
        """Let the global generators continue from the private states, and keep where they end."""
        with _restored():
            _set_states(self._state)
            yield
            self._state = _states()

    def state_dict(self) -> dict[str, Any]:
        """The states, in types that `torch.load(weights_only=True)` accepts."""
        return dict(self._state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._state = dict(state)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The global generators, seeded; afterwards they are as before."""
    with _restored():
        _seed_all(seed)
        yield


@contextmanager
def _restored() -> Iterator[None]:
    before = _states()
    try:
        yield
    finally:
        _set_states(before)


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed % 2**32)
    # torch.manual_seed would seed the accelerators as well, whose states are not kept here.
    torch.default_generator.manual_seed(seed)


def _states() -> dict[str, Any]:
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    return {
        "python": {"version": version, "words": torch.tensor(words), "gauss": gauss},
        "numpy": {
            "name": str(name),
            "keys": torch.from_numpy(np.asarray(keys, dtype=np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.default_generator.get_state(),
    }


def _set_states(state: Mapping[str, Any]) -> None:
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = numpy["keys"].numpy().astype(np.uint32)
    np.random.set_state(
        (numpy["name"], keys, numpy["position"], numpy["has_gauss"], numpy["cached"])
    )
    torch.default_generator.set_state(state["torch"].cpu())
