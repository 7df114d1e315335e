"""Reading a source of batches epoch by epoch, with a position that can be saved."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol, final, runtime_checkable

import numpy as np
import torch
from torch import Generator, Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import DataLoader, Dataset, Sampler

from mlograph.data import FullBatch
from mlograph.errors import StorageError
from mlograph.randomness import global_state, set_global_state, untouched


@runtime_checkable
class Stateful(Protocol):
    """What can tell its own state: a source of data its position, for example."""

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit-identically, as plain containers of tensors."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        ...


AnyGenerator = Generator | np.random.Generator | np.random.RandomState | random.Random

# Each time the same, whatever random numbers there are; a position that need not be kept.
_FIXED = (list, tuple, FullBatch)


@final
class Reading:
    """Walks through a source again and again, one batch at a time.

    A source that is `Stateful` is asked where it stands. Any other is read again from where its
    epoch began, with the random numbers of then, up to where it was; the first batch must be the
    one that it was.

    Args:
        source: any iterable.
        owner: its place in the graph, for messages.
    """

    def __init__(self, source: Iterable[Any], owner: str) -> None:
        self._source = source
        self._owner = owner
        self._iterator: Iterator[Any] | None = None
        self._drawn = 0
        self._first: Any = None
        self._print: str | None = None
        self._began: dict[str, Any] = {}

    def draw(self) -> Any:
        """The next batch.

        Raises:
            StopIteration: the epoch is over; the next draw begins another.
        """
        if self._iterator is None:
            self._begin()
        assert self._iterator is not None, "a reading has begun"
        try:
            batch = next(self._iterator)
        except StopIteration:
            self._iterator = None
            raise
        if not self._drawn:
            self._first, self._print = batch, None
        self._drawn += 1
        return batch

    @property
    def begins(self) -> bool:
        """Whether the last batch was the first of an epoch."""
        return self._drawn == 1

    def state_dict(self) -> dict[str, Any]:
        """Where the reading stands."""
        now = {"open": self._iterator is not None, "own": states_of(generators_of(self._source))}
        if isinstance(self._source, Stateful):
            return now | {"source": self._source.state_dict()}
        if self._iterator is None or isinstance(self._source, FullBatch):
            return now | {"drawn": 0}
        if self._print is None:
            self._print = fingerprint(self._first)
        return now | {"drawn": self._drawn, "began": self._began, "first": self._print}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave, the source being new.

        Raises:
            StorageError: the source gives other batches than it gave then.
        """
        if "source" in state and isinstance(self._source, Stateful):
            self._source.load_state_dict(state["source"])
            self._iterator = iter(self._source) if state["open"] else None
        else:
            self._iterator = None
            if state.get("drawn", 0):
                with untouched(torch.device("cpu")):
                    self._repeat(state)
        set_states(generators_of(self._source), state["own"])

    def _repeat(self, state: Mapping[str, Any]) -> None:
        if state["began"]:
            set_global_state(state["began"]["global"])
            set_states(generators_of(self._source), state["began"]["own"])
        try:
            for _ in range(state["drawn"]):
                self.draw()
        except StopIteration:
            raise StorageError(f"{self._owner}: the data ended before they did") from None
        if fingerprint(self._first) != state["first"]:
            raise StorageError(
                f"{self._owner}: read again, the data give other batches than before, so the run "
                "cannot go on as it was (give the data a 'state_dict' and a 'load_state_dict', or "
                "take their random numbers from torch)"
            )
        self._began = state["began"]

    def _begin(self) -> None:
        self._drawn = 0
        if not isinstance(self._source, _FIXED):
            own = states_of(generators_of(self._source))
            self._began = {"global": global_state(), "own": own}
        self._iterator = _begun(self._source)


def _begun(source: Iterable[Any]) -> Iterator[Any]:
    """An iterator of its own over `source`.

    A DataLoader with persistent workers gives every reader the same one, begun anew, whose workers
    go on with random numbers that nobody could repeat: it gets new workers for each epoch.
    """
    if isinstance(source, DataLoader) and source.persistent_workers:
        source._iterator = None
    return iter(source)


def generators_of(source: object) -> list[AnyGenerator]:
    """The generators that a source, its data set or its sampler has of its own."""
    pending, seen, found = [source], set[int](), []
    while pending:
        owner = pending.pop(0)
        if id(owner) in seen:
            continue
        seen.add(id(owner))
        for value in _attributes(owner):
            if isinstance(value, AnyGenerator) and id(value) not in seen:
                seen.add(id(value))
                found.append(value)
            elif isinstance(value, DataLoader | Dataset | Sampler):
                pending.append(value)
    return found


@contextmanager
def undisturbed(source: object) -> Iterator[None]:
    """The source's own generators are as before when this ends."""
    generators = generators_of(source)
    before = states_of(generators)
    try:
        yield
    finally:
        set_states(generators, before)


def fingerprint(batch: Any) -> str:
    """Tells batches apart by the numbers that are in them."""
    digest = hashlib.sha256()
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.layout is torch.strided:
            flat = leaf.detach().cpu().contiguous().reshape(-1)
            digest.update(f"{flat.dtype}{tuple(leaf.shape)}".encode())
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        elif isinstance(leaf, np.ndarray | np.generic | int | float | str | bytes):
            digest.update(leaf.tobytes() if isinstance(leaf, np.ndarray) else repr(leaf).encode())
    return digest.hexdigest()


def _attributes(owner: object) -> list[Any]:
    try:
        return list(vars(owner).values())
    except TypeError:
        return []  # A list or a generator function's iterator has none.


def states_of(generators: Sequence[AnyGenerator]) -> list[Any]:
    """The state of each generator."""
    return [_state(generator) for generator in generators]


def _state(generator: AnyGenerator) -> Any:
    match generator:
        case Generator():
            return generator.get_state()
        case np.random.Generator():
            return dict(generator.bit_generator.state)
        case np.random.RandomState():
            return generator.get_state(legacy=True)
        case _:
            return generator.getstate()


def set_states(generators: Sequence[AnyGenerator], states: Sequence[Any]) -> None:
    """Give each generator its state."""
    for generator, state in zip(generators, states, strict=True):
        match generator:
            case Generator():
                generator.set_state(state)
            case np.random.Generator():
                generator.bit_generator.state = state
            case np.random.RandomState():
                generator.set_state(state)
            case _:
                generator.setstate(state)
