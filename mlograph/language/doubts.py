"""Which places of a graph cannot be relied on, since something that is at fault decides them.

A check of what a graph means asks before it speaks, so that no fault is reported that is only the
consequence of another.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from mlograph.errors import Fault, Path, near_names
from mlograph.language.keys import keys_at

References = Mapping[Path, Collection[Path]]


@dataclass(frozen=True)
class Doubts:
    """Places in a graph that may say something else than was meant.

    Attributes:
        paths: each stands for itself and for all below it.
        keys: those of `paths` at which the last key, too, may be another than was meant.
    """

    paths: frozenset[Path] = frozenset()
    keys: frozenset[Path] = frozenset()

    def cover(self, path: Path) -> bool:
        """Whether what stands at `path` is in doubt as a whole."""
        return any(path[:length] in self.paths for length in range(len(path) + 1))

    def touch(self, path: Path) -> bool:
        """Whether anything of what stands at `path` is in doubt."""
        return path in self._enclosing or self.cover(path)

    @cached_property
    def _enclosing(self) -> frozenset[Path]:
        return frozenset(path[:length] for path in self.paths for length in range(len(path)))

    def and_at(self, paths: Iterable[Path]) -> Doubts:
        """These doubts, and those about `paths`."""
        return Doubts(self.paths.union(paths), self.keys)

    def spread(self, references: References) -> Doubts:
        """These doubts, and those about all that refers to a place in doubt."""
        doubts = self
        while new := [
            path
            for path, targets in references.items()
            if path not in doubts.paths and any(map(doubts.cover, targets))
        ]:
            doubts = doubts.and_at(new)
        return doubts


def doubts_of(written: Iterable[Fault], refused: Iterable[Fault], data: object) -> Doubts:
    """What the faults of a graph's form put in doubt.

    Args:
        written: what is wrong with what is written in the graph.
        refused: overrides that were not applied; what each should have changed is in doubt.
        data: the graph.
    """
    paths: set[Path] = set()
    keys: set[Path] = set()
    for fault in written:
        paths.add(fault.path)
        if fault.on_key and fault.path and not is_missing_key(fault, data):
            keys.add(fault.path)
            paths.update(_meant_by_key(fault.path, data))
    for fault in refused:
        paths.update(_meant_by_override(fault.path, data) if fault.on_key else [fault.path])
    return Doubts(frozenset(paths), frozenset(keys))


def is_missing_key(fault: Fault, data: object) -> bool:
    """Whether a fault is that there is no such key, and not that there is one."""
    # What stands in a text has its place there from the start.
    return fault.on_key and fault.location is None and _at(data, fault.path) is _NOTHING


_NOTHING = object()


def _at(data: object, path: Path) -> object:
    for step in path:
        listed = isinstance(data, list | tuple) and isinstance(step, int) and step < len(data)
        if not (listed or (isinstance(data, dict) and step in data)):
            return _NOTHING
        data = data[step]  # type: ignore[index]
    return data


def _meant_by_key(path: Path, data: object) -> Iterator[Path]:
    """Absent keys that the last key of `path` may have been meant for."""
    above, key = path[:-1], path[-1]
    known = keys_at(above, data).names
    absent = [name for name in known if _at(data, (*above, name)) is _NOTHING]
    near = near_names(str(key), absent)
    # A key that has a meaning here was hardly meant for one that is spelt quite differently.
    for name in near if near or key in known else absent:
        yield (*above, name)


def _meant_by_override(path: Path, data: object) -> Iterator[Path]:
    """What a refused override may have been meant to change."""
    above, key = path[:-1], path[-1]
    node = _at(data, above)
    written = node if isinstance(node, dict) else ()
    near = near_names(str(key), keys_at(above, data).names.union(written))
    yield from ((*above, name) for name in near)
    if not near:
        yield above
