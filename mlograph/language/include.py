"""`include: [base.yaml]`: files merged into one tree."""

from __future__ import annotations

import os
from dataclasses import replace

from mlograph.errors import Fault, GraphError, Location, Path
from mlograph.language.document import MAX_NODES, read_document
from mlograph.language.keys import keys_at, shorthand_at
from mlograph.language.text import MAX_BYTES, Text, from_file
from mlograph.language.tree import Entry, Mapping, Node, Scalar, Sequence, describe, plain

MAX_FILES = 64


def merge(base: Mapping, over: Mapping, path: Path = ()) -> Mapping:
    """Deep merge: mappings key by key, everything else replaced by what `over` says.

    Where `over` names another `_target_` or another `method`, or a module to `copy`, the arguments
    in `base` are those of something else and do not stay.

    Args:
        base: what is included.
        over: what is laid over it.
        path: where both stand in the graph.
    """
    entries = dict(base.entries)
    if _is_another(base, over, path):
        entries = {key: entry for key, entry in entries.items() if key in _of_any(path)}
    for key, entry in over.entries.items():
        place = (*path, key)
        below = _opened(entries[key].value, place) if key in entries else None
        if isinstance(below, Mapping) and isinstance(entry.value, Mapping):
            entries[key] = Entry(entry.key, merge(below, entry.value, place))
        else:
            entries[key] = entry
    return Mapping(entries, over.location)


def _is_another(base: Mapping, over: Mapping, path: Path) -> bool:
    """Whether `over` says what it is, and `base` is not that."""
    says = {key: over.entries[key] for key in _kinds(path) if key in over.entries}
    return bool(says) and any(
        key not in base.entries or plain(base.entries[key].value) != plain(entry.value)
        for key, entry in says.items()
    )


def _kinds(path: Path) -> tuple[str, ...]:
    """The keys that say what a mapping at `path` is, so that its other keys depend on them."""
    if not path:
        return ()
    if shorthand_at(path) == "method":
        return ("method",)
    return ("_target_", "copy") if path[-1] == "module" else ("_target_",)


def _of_any(path: Path) -> frozenset[str]:
    """Keys at `path` that are no arguments of a component, such as `every` under `validate`."""
    kinds = _kinds(path)
    return frozenset() if kinds == ("method",) else keys_at(path, None).names - {*kinds}


def _opened(node: Node, path: Path) -> Node:
    """The mapping that a bare text is short for: `adam` for `{_target_: adam}`."""
    short = shorthand_at(path) if isinstance(node, Scalar) else None
    if short and isinstance(node, Scalar) and isinstance(node.value, str):
        return Mapping({short: Entry(node.location, node)}, node.location)
    return node


def without_include(root: Mapping) -> Mapping:
    """The mapping less its key `include`."""
    rest = {key: entry for key, entry in root.entries.items() if key != "include"}
    return replace(root, entries=rest)


class Reader:
    """Reads a file with everything that it includes; each file is read once.

    Attributes:
        faults: what is wrong with what could be read all the same.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self._merged: dict[str, Mapping] = {}
        self._nodes = self._characters = 0

    def read_file(self, path: str) -> Mapping:
        """The tree of a file, included files merged below it.

        Raises:
            GraphError: a file is missing or no YAML, or includes go round in a circle.
        """
        return self._file(path, path, ())

    def read_text(self, text: Text) -> Mapping:
        """The tree of a text, which may not include anything.

        Raises:
            GraphError: it is no YAML mapping.
        """
        root = self._root(text)
        if "include" in root.entries:
            message = "only a file can include another, and this text is none"
            place = root.entries["include"].key
            self.faults.append(Fault(("include",), message, "", place, on_key=True))
        return without_include(root)

    def _file(self, path: str, name: str, above: tuple[tuple[str, str], ...]) -> Mapping:
        real = _real(path)
        if real in self._merged:
            return self._merged[real]
        if len(self._merged) + len(above) >= MAX_FILES:
            raise GraphError([Fault((), f"more than {MAX_FILES} files are included")])
        root = self._root(from_file(path, name))
        merged = without_include(root)
        base: Mapping | None = None
        for entry in self._included(root):
            part = self._below(entry, path, (*above, (real, name)))
            base = part if base is None else merge(base, part)
        self._merged[real] = merged = merged if base is None else merge(base, merged)
        return merged

    def _below(self, entry: Scalar, path: str, above: tuple[tuple[str, str], ...]) -> Mapping:
        target = os.path.normpath(os.path.join(os.path.dirname(path), str(entry.value)))
        real = _real(target)
        names = [name for _, name in above]
        if any(real == known for known, _ in above):
            start = next(i for i, (known, _) in enumerate(above) if known == real)
            circle = " -> ".join([*names[start:], names[start]])
            message = f"files include each other in a circle: {circle}"
            raise GraphError([Fault(("include",), message, "", entry.location)])
        try:
            return self._file(target, target, above)
        except GraphError as error:
            # A file that cannot be read has no place of its own to show.
            faults = [f if f.location else _included_at(f, entry.location) for f in error.faults]
            raise GraphError(faults) from None

    def _included(self, root: Mapping) -> list[Scalar]:
        if "include" not in root.entries:
            return []
        node = root.entries["include"].value
        items = node.items if isinstance(node, Sequence) else (node,)
        files: list[Scalar] = []
        for index, item in enumerate(items):
            path = ("include", index) if isinstance(node, Sequence) else ("include",)
            if not (isinstance(item, Scalar) and isinstance(item.value, str) and item.value):
                message = f"expected the name of a file, got {_got(item)}"
            elif "${" in item.value:
                message = "references cannot stand in the name of an included file"
            elif index >= MAX_FILES:
                message = f"more than {MAX_FILES} files are included"
            else:
                files.append(item)
                continue
            raise GraphError([Fault(path, message, "", item.location)])
        return files

    def _root(self, text: Text) -> Mapping:
        document = read_document(text)
        if document.root is None and document.faults:
            raise GraphError([*self.faults, *document.faults])
        self.faults += document.faults
        self._nodes += document.extent.nodes
        self._characters += document.extent.characters
        if self._nodes > MAX_NODES or self._characters > MAX_BYTES:
            message = f"{text.name!r}: the files together are too large"
            raise GraphError([Fault((), message)])
        if document.root is None:
            raise GraphError([Fault((), f"{text.name!r}: the file is empty")])
        if not isinstance(document.root, Mapping):
            message = f"expected a mapping with 'mlograph: 1', got {describe(document.root)}"
            raise GraphError([Fault((), message, "", document.root.location)])
        return document.root


def _real(path: str) -> str:
    try:
        return os.path.realpath(path)
    except (OSError, ValueError):
        return path  # it cannot be opened either, which says why


def _got(node: Node) -> str:
    if isinstance(node, Scalar) and node.value is None:
        return "nothing"
    return repr(node.value) if isinstance(node, Scalar) else describe(node)


def _included_at(fault: Fault, place: Location) -> Fault:
    return replace(fault, path=("include",), location=place)
