"""A document as a tree of values, each with its place in the text that it came from.

Trees are immutable: includes, overrides and interpolation each make a new tree, and what they
leave alone keeps its place.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from mlograph.errors import Location, Path

Value = str | int | float | bool | None
Plain = Value | dict[str, "Plain"] | list["Plain"]


@dataclass(frozen=True)
class Scalar:
    """One text, number, truth value or null.

    Attributes:
        value: what the graph uses.
        location: where it stands.
        masked: what is shown and saved in its place, where it came from the environment.
    """

    value: Value
    location: Location
    masked: str | None = None


@dataclass(frozen=True)
class Entry:
    """The value of one key of a mapping, and where the key stands."""

    key: Location
    value: Node


@dataclass(frozen=True)
class Mapping:
    """Keys and their values, in the order of the text."""

    entries: dict[str, Entry]
    location: Location


@dataclass(frozen=True)
class Sequence:
    """A list."""

    items: tuple[Node, ...]
    location: Location


Node = Scalar | Mapping | Sequence


def child(node: Node, step: str | int) -> Node | None:
    """The value that one key or index leads to; `None` where it leads nowhere."""
    match node:
        case Mapping(entries):
            entry = entries.get(str(step))
            return entry.value if entry else None
        case Sequence(items):
            index = _index(step)
            return items[index] if index is not None and index < len(items) else None
        case Scalar():
            return None


def _index(step: str | int) -> int | None:
    if isinstance(step, int):
        return step if step >= 0 else None
    # A number of seven digits is beyond the longest list that can be read.
    return int(step) if step.isascii() and step.isdigit() and len(step) < 7 else None


def plain(node: Node) -> Plain:
    """The tree as ordinary Python values."""
    match node:
        case Mapping(entries):
            return {key: plain(entry.value) for key, entry in entries.items()}
        case Sequence(items):
            return [plain(item) for item in items]
        case Scalar(value):
            return value


def scalars(node: Node, path: Path = ()) -> Iterator[tuple[Path, Scalar]]:
    """Every scalar of the tree with the path to it, in order."""
    match node:
        case Mapping(entries):
            for key, entry in entries.items():
                yield from scalars(entry.value, (*path, key))
        case Sequence(items):
            for index, item in enumerate(items):
                yield from scalars(item, (*path, index))
        case Scalar():
            yield path, node


def describe(node: Node) -> str:
    """What kind of value a node is: `a mapping`, `a list`, or `a single value`."""
    match node:
        case Mapping():
            return "a mapping"
        case Sequence():
            return "a list"
        case Scalar():
            return "a single value"
