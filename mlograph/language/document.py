"""One YAML text → a tree of values with their places, in bounded time and space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import yaml

from mlograph.errors import Fault, Location, Path, did_you_mean
from mlograph.language.scalars import read_plain
from mlograph.language.text import MAX_BYTES, Text
from mlograph.language.tree import Entry, Mapping, Node, Scalar, Sequence, Value

MAX_NODES = 100_000
MAX_DEPTH = 64
MERGE_KEY = "<<"

_Loader = yaml.CSafeLoader if yaml.__with_libyaml__ else yaml.SafeLoader


@dataclass(frozen=True)
class Extent:
    """How large a value is once its aliases are expanded."""

    nodes: int
    characters: int
    depth: int


@dataclass(frozen=True)
class Document:
    """What was read from a text.

    Attributes:
        root: the value; `None` where the text is empty or no YAML.
        faults: everything that is wrong; the rest of the document is there nevertheless.
        extent: size of the value.
    """

    root: Node | None
    faults: tuple[Fault, ...]
    extent: Extent


def read_document(text: Text) -> Document:
    """The one document of a text; faults are returned, not raised."""
    composer = _Composer(text)
    try:
        root, extent = composer.document()
    except _StopError as stop:
        return Document(None, (*composer.faults, stop.fault), _NOTHING)
    except yaml.MarkedYAMLError as error:
        return Document(None, (*composer.faults, _syntax_fault(text, error)), _NOTHING)
    return Document(root, tuple(composer.faults), extent)


_NOTHING = Extent(0, 0, 0)


class _StopError(Exception):
    """The rest of the text cannot be read."""

    def __init__(self, fault: Fault) -> None:
        super().__init__(fault)
        self.fault = fault


class _Composer:
    """Builds the tree from the parser's events, so that nothing is expanded uncounted."""

    def __init__(self, text: Text) -> None:
        self.faults: list[Fault] = []
        self._text = text
        self._events: Iterator[yaml.Event] = yaml.parse(text.content, Loader=_Loader)
        self._anchors: dict[str, tuple[Node, Extent]] = {}
        self._unfinished: set[str] = set()
        self._nodes = self._characters = 0

    def document(self) -> tuple[Node | None, Extent]:
        next(self._events)  # the stream's start
        if isinstance(next(self._events), yaml.StreamEndEvent):
            return None, _NOTHING
        found = self._node(next(self._events), (), 0, None)
        next(self._events)  # the document's end
        after = next(self._events)
        if not isinstance(after, yaml.StreamEndEvent):
            message = "a second document begins here, but a file holds one"
            raise _StopError(Fault((), message, "remove the '---'", self._place(after)))
        return found

    def _node(
        self, event: yaml.Event, path: Path, depth: int, key: Location | None
    ) -> tuple[Node, Extent]:
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event, path, depth)
        assert isinstance(event, yaml.NodeEvent)
        self._check_tag(event, path)
        self._spend(event, path, Extent(1, 0, 1), depth)
        anchor = event.anchor
        if anchor:
            self._unfinished.add(anchor)
        found: tuple[Node, Extent]
        if isinstance(event, yaml.MappingStartEvent):
            found = self._mapping(event, path, depth)
        elif isinstance(event, yaml.SequenceStartEvent):
            found = self._sequence(event, path, depth)
        else:
            assert isinstance(event, yaml.ScalarEvent)
            found = self._scalar(event, path, key)
        if anchor:
            self._unfinished.discard(anchor)
            self._anchors[anchor] = found
        return found

    def _alias(self, event: yaml.AliasEvent, path: Path, depth: int) -> tuple[Node, Extent]:
        name, place = event.anchor or "", self._place(event)
        if name in self._unfinished:
            raise _StopError(Fault(path, f"the anchor '&{name}' contains itself", "", place))
        if name not in self._anchors:
            hint = did_you_mean(name, self._anchors)
            raise _StopError(Fault(path, f"there is no anchor '&{name}' above", hint, place))
        node, extent = self._anchors[name]
        self._spend(event, path, extent, depth)
        return replace(node, location=place), extent

    def _mapping(self, event: yaml.Event, path: Path, depth: int) -> tuple[Mapping, Extent]:
        entries: dict[str, Entry] = {}
        total = Extent(1, 0, 1)
        while not isinstance(key_event := next(self._events), yaml.MappingEndEvent):
            place = self._place(key_event)
            key_node, key_extent = self._node(key_event, path, depth + 1, None)
            key = self._key(key_event, key_node, path, place)
            inner = path if key is None else (*path, key)
            value, extent = self._node(next(self._events), inner, depth + 1, place)
            total = _enclose(_enclose(total, key_extent), extent)
            if key is None:
                continue
            if key in entries:
                first = f"it stands first in line {entries[key].key.line}"
                self.faults.append(Fault(inner, "duplicate key", first, place, on_key=True))
                continue
            entries[key] = Entry(place, value)
        return Mapping(entries, self._place(event)), total

    def _key(self, event: yaml.Event, node: Node, path: Path, place: Location) -> str | None:
        plain = isinstance(event, yaml.ScalarEvent) and not event.style
        if isinstance(node, Scalar) and isinstance(node.value, str):
            if not (plain and node.value == MERGE_KEY):
                return node.value
            path = (*path, MERGE_KEY)
            message, hint = "merge keys '<<' are not supported", "use include, or an alias"
        elif isinstance(node, Scalar):
            written = event.value if isinstance(event, yaml.ScalarEvent) else ""
            path = (*path, written or "null")
            message, hint = f"the key {path[-1]} is not a text", f'quote it: "{written}"'
        else:
            kind = "mapping" if isinstance(node, Mapping) else "list"
            message, hint = f"a {kind} cannot be a key", 'quote references: "${a.b}"'
        self.faults.append(Fault(path, message, hint, place, on_key=True))
        return None

    def _sequence(self, event: yaml.Event, path: Path, depth: int) -> tuple[Sequence, Extent]:
        items: list[Node] = []
        total = Extent(1, 0, 1)
        while not isinstance(item := next(self._events), yaml.SequenceEndEvent):
            node, extent = self._node(item, (*path, len(items)), depth + 1, None)
            items.append(node)
            total = _enclose(total, extent)
        return Sequence(tuple(items), self._place(event)), total

    def _scalar(
        self, event: yaml.ScalarEvent, path: Path, key: Location | None
    ) -> tuple[Scalar, Extent]:
        # What is not written stands nowhere: its key is shown instead.
        place = key if key and not event.value and not event.style else self._place(event)
        value: Value = event.value
        self._spend(event, path, Extent(0, len(event.value), 1), 0)
        if not event.style:
            try:
                value = read_plain(event.value)
            except ValueError as error:
                self.faults.append(Fault(path, str(error), "", place))
        return Scalar(value, place), Extent(1, len(event.value), 1)

    def _check_tag(self, event: yaml.NodeEvent, path: Path) -> None:
        if not isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent):
            return
        if event.tag is not None:
            message = f"tags such as '{event.tag}' are not used in graph files"
            self.faults.append(Fault(path, message, "remove it", self._place(event)))

    def _spend(self, event: yaml.Event, path: Path, extent: Extent, depth: int) -> None:
        self._nodes += extent.nodes
        self._characters += extent.characters
        if depth + extent.depth > MAX_DEPTH:
            message = f"nested more than {MAX_DEPTH} levels deep"
        elif self._nodes > MAX_NODES:
            message = f"more than {MAX_NODES:,} values, aliases expanded"
        elif self._characters > MAX_BYTES:
            message = f"more than {MAX_BYTES // 2**20} MiB of text, aliases expanded"
        else:
            return
        raise _StopError(Fault(path[:4], message, "", self._place(event)))

    def _place(self, event: yaml.Event) -> Location:
        mark = event.start_mark
        assert mark is not None
        return self._text.place(mark.line, mark.column)


def _enclose(outer: Extent, inner: Extent) -> Extent:
    return Extent(
        outer.nodes + inner.nodes,
        outer.characters + inner.characters,
        max(outer.depth, inner.depth + 1),
    )


def _syntax_fault(text: Text, error: yaml.MarkedYAMLError) -> Fault:
    mark = error.problem_mark or error.context_mark
    if mark is None:
        return Fault((), f"not YAML: {error.problem}")
    place = text.place(mark.line, mark.column)
    opened = error.context_mark
    message = f"not YAML: {error.problem}"
    if error.context and opened and opened.line != mark.line:
        message += f" {error.context} (begun in line {text.place(opened.line, 0).line})"
    elif error.context and "next token" not in error.context:
        message += f" {error.context}"
    return Fault((), message, _syntax_hint(place), place)


def _syntax_hint(place: Location) -> str:
    rest = place.text[place.column - 1 :]
    before = place.text[: place.column]
    if rest.startswith("\t"):
        return "indent with spaces, not with tabs"
    if "${" in before and before.count("{") > before.count("${"):
        return 'inside { } a reference needs quotes: "${a.b}"'
    if rest.startswith(("@", "`", "%")):
        return f"a text that begins with {rest[0]} needs quotes"
    if rest.startswith(":"):
        return "a text with ': ' needs quotes; a key has a space after its colon"
    return ""
