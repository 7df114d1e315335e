"""Python values as plain containers that `torch.load(weights_only=True)` reads, and back.

Loading such a file runs no code of anybody's. What is no plain container becomes a tuple that
begins with a tag, which only this module reads; a class is found by its name among those that the
caller knows, never imported.
"""

from __future__ import annotations

import math
from collections import Counter, OrderedDict, deque, namedtuple
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any, final

import numpy as np
import torch
from torch import Generator, Tensor, nn

_PLAIN = frozenset(
    (bool, int, float, complex, str, bytes, type(None), torch.Size, torch.dtype, torch.device)
)
# What a class of the standard library is made of, and made again from.
_SEQUENCES: Mapping[type, str] = {tuple: "tuple", set: "set", frozenset: "frozenset"}
_MAPPINGS: Mapping[type, str] = {OrderedDict: "ordered", Counter: "counter"}


@final
class Packer:
    """Makes plain containers of values, for one checkpoint.

    An object of a known class that is met again is the same object when it is unpacked.

    Args:
        known: dataclasses that may be among the values, by name.
        alive: objects that whoever restores the rest has again, by name; not packed.

    Attributes:
        lost: what could not be packed, in words; a None stands for it.
    """

    def __init__(self, known: Mapping[str, type], alive: Mapping[str, Any] | None = None) -> None:
        self._names = {kind: name for name, kind in known.items()}
        self._alive = {id(value): name for name, value in (alive or {}).items()}
        self._records: dict[int, int] = {}
        self._held: list[Any] = []
        self._tensors: dict[int, Tensor] = {}
        self._by_kind: Mapping[type, Callable[[Any, str], Any]] = {
            list: self._list,
            dict: self._dict,
            Tensor: self._tensor,
            nn.Parameter: self._tensor,
            nn.Buffer: self._tensor,
        }
        self.lost: list[str] = []

    def pack(self, value: Any, place: str) -> Any:
        """`value` as plain containers; `place` says in `lost` where it was met."""
        kind = type(value)
        if kind in _PLAIN:
            return value
        if id(value) in self._alive:
            return ("alive", self._alive[id(value)])
        if kind in self._names:
            return self._record(value, place)
        if kind in _SEQUENCES:
            return (_SEQUENCES[kind], [self.pack(item, place) for item in value])
        if kind in _MAPPINGS:
            return (_MAPPINGS[kind], self._pairs(value, place))
        return self._by_kind.get(kind, self._other)(value, place)

    def _list(self, value: list[Any], place: str) -> Any:
        return [self.pack(item, place) for item in value]

    def _dict(self, value: dict[Any, Any], place: str) -> Any:
        if all(type(key) in {str, int} for key in value):
            return {key: self.pack(item, place) for key, item in value.items()}
        return ("dict", self._pairs(value, place))

    def _pairs(self, value: Mapping[Any, Any], place: str) -> list[Any]:
        return [[self.pack(k, place), self.pack(x, place)] for k, x in value.items()]

    def _record(self, value: Any, place: str) -> Any:
        if id(value) in self._records:
            return ("again", self._records[id(value)])
        number = self._records[id(value)] = len(self._records)
        # Held, so that no other object gets the same identity meanwhile.
        self._held.append(value)
        assert is_dataclass(value), "known classes are dataclasses"
        entries = vars(value)
        packed = {f.name: self.pack(entries[f.name], place) for f in fields(value)}
        return ("record", number, self._names[type(value)], packed)

    def _tensor(self, value: Tensor, place: str) -> Any:
        known = self._tensors.get(id(value))
        if known is None:
            self._held.append(value)
            known = self._tensors[id(value)] = _compact(value.detach())
        return known

    def _other(self, value: Any, place: str) -> Any:
        if isinstance(value, tuple) and (names := _field_names(type(value))) is not None:
            items = [self.pack(item, place) for item in value]
            return ("namedtuple", type(value).__name__, list(names), items)
        if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            data = torch.frombuffer(bytearray(value.tobytes() or b"\0"), dtype=torch.uint8)
            scalar = isinstance(value, np.generic)
            return ("numpy", value.dtype.str, list(value.shape), data, scalar)
        if isinstance(value, deque):
            return ("deque", [self.pack(item, place) for item in value], value.maxlen)
        if isinstance(value, PurePath):
            return ("path", str(value))
        if isinstance(value, Generator):
            return ("generator", value.device, value.get_state())
        return self._lose(value, place)

    def _lose(self, value: Any, place: str) -> None:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        words = f"{place} holds a {kind}"
        if words not in self.lost:
            self.lost.append(words)


@final
class Unpacker:
    """Gives back what a `Packer` was given, part by part in the same order.

    Args:
        known: dataclasses by name.

    Attributes:
        alive: the objects that were not packed.
    """

    def __init__(self, known: Mapping[str, type]) -> None:
        self._known = known
        self.alive: Mapping[str, Any] = {}
        self._records: dict[int, Any] = {}
        self._tags: Mapping[str, Callable[..., Any]] = {
            "again": lambda number: self._records[number],
            "alive": lambda name: self.alive[name],
            "counter": lambda pairs: Counter(dict(self._pairs(pairs))),
            "deque": lambda items, most: deque(self.unpack(items), most),
            "dict": lambda pairs: dict(self._pairs(pairs)),
            "frozenset": lambda items: frozenset(self.unpack(items)),
            "generator": _generator,
            "namedtuple": self._namedtuple,
            "numpy": _numpy,
            "ordered": lambda pairs: OrderedDict(self._pairs(pairs)),
            "path": PurePath,
            "record": self._record,
            "set": lambda items: set(self.unpack(items)),
            "tuple": lambda items: tuple(self.unpack(items)),
        }

    def unpack(self, value: Any) -> Any:
        """What stands for `value`.

        Raises:
            ValueError: a packer does not give this, or a class is not known.
        """
        if isinstance(value, list):
            return [self.unpack(item) for item in value]
        if isinstance(value, dict):
            return {key: self.unpack(item) for key, item in value.items()}
        # A torch.Size is a tuple as well.
        if type(value) is not tuple:
            return value
        tag, *rest = value
        if tag not in self._tags:
            raise ValueError(f"unknown tag {tag!r}")
        try:
            return self._tags[tag](*rest)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a '{tag}' cannot be read: {error}") from error

    def _pairs(self, pairs: list[Any]) -> list[tuple[Any, Any]]:
        return [(self.unpack(key), self.unpack(item)) for key, item in pairs]

    def _record(self, number: int, name: str, entries: dict[str, Any]) -> Any:
        found = self._known[name](**{key: self.unpack(item) for key, item in entries.items()})
        self._records[number] = found
        return found

    def _namedtuple(self, name: str, names: list[str], items: list[Any]) -> Any:
        return namedtuple(name, names)(*self.unpack(items))


def _field_names(kind: type[tuple[Any, ...]]) -> tuple[str, ...] | None:
    names = vars(kind).get("_fields")
    return names if isinstance(names, tuple) else None


def _numpy(dtype: str, shape: list[int], data: Tensor, scalar: bool) -> Any:
    kind = np.dtype(dtype)
    size = kind.itemsize * math.prod(shape)
    array = np.frombuffer(data.numpy().tobytes()[:size], dtype=kind).reshape(shape).copy()
    return array[()] if scalar else array


def _generator(device: torch.device, state: Tensor) -> Generator:
    generator = Generator(device)
    generator.set_state(state)
    return generator


def _compact(tensor: Tensor) -> Tensor:
    """The same numbers with the same strides, without the rest of a larger storage.

    torch saves whole storages, so a batch that is a slice of a data set would bring all of it.
    """
    if tensor.layout is not torch.strided or tensor.is_quantized or not tensor.numel():
        return tensor
    extent = 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.untyped_storage().nbytes() <= extent * tensor.element_size():
        return tensor
    empty = torch.empty(extent, dtype=tensor.dtype, device=tensor.device)
    # A tensor that overlaps itself cannot be written as it stands, but its extent can.
    empty.copy_(tensor.as_strided((extent,), (1,)))
    return empty.as_strided(tensor.shape, tensor.stride())
