"""The state of all random numbers, kept so that a loss can be evaluated twice alike."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from ctypes import string_at
from dataclasses import dataclass
from struct import unpack
from types import MethodType
from typing import Any, cast, final
from zlib import crc32

import numpy as np
import torch
from numpy.random.mtrand import get_bit_generator
from torch import Tensor


@dataclass(frozen=True)
class RandomState:
    """State of the global generators of torch, numpy and Python; of CUDA's where the run is on it.

    A loss may draw from any of them: dropout masks come from torch, mixing weights and
    augmentations often do not. Between two captures, what was not drawn from stays one object: it
    is neither copied nor compared again.
    """

    cpu: Tensor
    cuda: Tensor | None
    numpys: Any
    pythons: Any

    @classmethod
    def capture(cls, device: torch.device) -> RandomState:
        """The present state."""
        on_cuda = device.type == "cuda"
        cuda = torch.cuda.get_rng_state(device) if on_cuda else None
        return cls(torch.get_rng_state(), cuda, _NUMPY.state(), _PYTHON.state())

    def since(self, earlier: RandomState) -> RandomState:
        """The same, sharing with an earlier one what has not moved: long loops keep many."""
        return RandomState(
            earlier.cpu if self.cpu.equal(earlier.cpu) else self.cpu,
            earlier.cuda if _same_tensor(self.cuda, earlier.cuda) else self.cuda,
            earlier.numpys if _same_numpy(self.numpys, earlier.numpys) else self.numpys,
            earlier.pythons if _same_python(self.pythons, earlier.pythons) else self.pythons,
        )

    def restore(self, device: torch.device) -> None:
        """Make this the present state again."""
        torch.set_rng_state(self.cpu)
        if self.cuda is not None:
            torch.cuda.set_rng_state(self.cuda, device)
        _NUMPY.restore(self.numpys)
        _PYTHON.restore(self.pythons)

    def same(self, other: RandomState) -> bool:
        """Whether nothing was drawn between the two."""
        return (
            self.cpu.equal(other.cpu)
            and _same_tensor(self.cuda, other.cuda)
            and _same_numpy(self.numpys, other.numpys)
            and _same_python(self.pythons, other.pythons)
        )

    @contextmanager
    def replayed(self, device: torch.device) -> Iterator[None]:
        """Draw the same numbers again inside, and leave no trace of it outside."""
        with untouched(device):
            self.restore(device)
            yield


def _same_tensor(one: Tensor | None, other: Tensor | None) -> bool:
    return one is other or (one is not None and other is not None and one.equal(other))


def _same_numpy(one: Any, other: Any) -> bool:
    """Of the states of a Mersenne twister and of what it keeps of a normal number."""
    if one is other:
        return True
    rest = ("has_gauss", "gauss")
    return (
        bool(one["state"]["pos"] == other["state"]["pos"])
        and bool(np.array_equal(one["state"]["key"], other["state"]["key"]))
        and all(one[key] == other[key] for key in rest)
    )


def _same_python(one: Any, other: Any) -> bool:
    return one is other or bool(one == other)


@final
class _NumpyGenerator:
    """NumPy's global generator, asked for its state only where its memory has changed.

    NumPy takes as long to tell or to set its state as a small network to be evaluated. Whoever sets
    a state by `numpy.random.set_state` that differs from the present one in nothing but the kept
    second number of a pair is not seen.
    """

    def __init__(self) -> None:
        self._memory: bytes | None = None
        self._state: Any = None

    def state(self) -> Any:
        """The present state; the same object as the last one where nothing was drawn since."""
        memory = _memory()
        # The second number of a pair may have been taken, which does not show in the memory.
        if memory is None or memory != self._memory or self._state["has_gauss"]:
            # Not the tuple that numpy gives by default, which takes it twice as long to make.
            state = np.random.get_state(legacy=False)
            known = self._state is not None and memory is not None
            if not (known and memory == self._memory and _same_numpy(state, self._state)):
                self._memory, self._state = memory, state
        return self._state

    def restore(self, state: Any) -> None:
        """Make this the present state again."""
        if self.state() is not state:
            np.random.set_state(state)
            self._memory, self._state = _memory(), state

    def forget(self) -> None:
        """The state was set by somebody else."""
        self._memory = None


@final
class _PythonGenerator:
    """Python's global generator, likewise."""

    def __init__(self) -> None:
        self._memory: bytes | None = None
        self._state: Any = None

    def state(self) -> Any:
        """The present state; the same object as the last one where nothing was drawn since."""
        memory = _python_memory()
        # The second number of a pair may have been taken, which does not show in the memory.
        if memory is None or memory != self._memory or self._state[2] is not None:
            state = random.getstate()
            if state != self._state:
                self._state = state
            self._memory = memory
        return self._state

    def restore(self, state: Any) -> None:
        """Make this the present state again."""
        if self.state() is not state:
            random.setstate(state)
            self._memory, self._state = _python_memory(), state

    def forget(self) -> None:
        """The state was set by somebody else."""
        self._memory = None


_NUMPY, _PYTHON = _NumpyGenerator(), _PythonGenerator()

# Of a Mersenne twister's state as numpy has it: 624 words and the position among them.
_WORDS = 625
_BYTES = _WORDS * 4


def _memory() -> bytes | None:
    """What numpy's global generator keeps; None where it is no Mersenne twister."""
    generator = get_bit_generator()
    if not isinstance(generator, np.random.MT19937):
        return None
    return string_at(generator.ctypes.state_address, _BYTES)


def _python_memory() -> bytes | None:
    """What Python's global generator keeps; None where its memory cannot be looked at."""
    return string_at(_PYTHONS_WORDS, _BYTES) if _PYTHONS_WORDS is not None else None


def _found_words() -> int | None:
    """Where CPython's twister has its position and its words, which follow the object's head.

    Taken only where what lies there is what the generator tells.
    """
    owner = cast(MethodType, random.getstate).__self__
    if sys.implementation.name != "cpython" or type(owner) is not random.Random:
        return None
    if type(owner).__mro__[1].__basicsize__ < object.__basicsize__ + _BYTES:
        return None
    place = id(owner) + object.__basicsize__
    position, *words = unpack(f"{_WORDS}I", string_at(place, _BYTES))
    return place if random.getstate()[1] == (*words, position) else None


_PYTHONS_WORDS = _found_words()


@contextmanager
def untouched(device: torch.device) -> Iterator[None]:
    """Whatever is drawn inside, from torch, numpy or Python, leaves no trace outside."""
    before = RandomState.capture(device)
    try:
        yield
    finally:
        before.restore(device)


def global_state() -> dict[str, Any]:
    """States of Python's, NumPy's and torch's (CPU) global generators.

    In types that `torch.load(weights_only=True)` accepts.
    """
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


def set_global_state(state: Mapping[str, Any]) -> None:
    """Make these the present states again."""
    python, numpy = state["python"], state["numpy"]
    random.setstate((python["version"], tuple(python["words"].tolist()), python["gauss"]))
    keys = numpy["keys"].numpy().astype(np.uint32)
    np.random.set_state(
        (numpy["name"], keys, numpy["position"], numpy["has_gauss"], numpy["cached"])
    )
    _NUMPY.forget()
    _PYTHON.forget()
    torch.default_generator.set_state(state["torch"].cpu())


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
