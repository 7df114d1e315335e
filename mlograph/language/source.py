"""Where everything in a graph stands, and the steps from a file to its spec."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from mlograph.errors import Fault, GraphError, Location, Path
from mlograph.language import tree
from mlograph.language.emit import emit
from mlograph.language.faults import Origin, limited
from mlograph.language.include import Reader
from mlograph.language.interpolation import escape, interpolate
from mlograph.language.overrides import SOURCE_NAME, override
from mlograph.language.spec import GraphSpec
from mlograph.language.text import from_string
from mlograph.language.tree import Mapping, Node, Plain, Scalar, child, plain
from mlograph.language.validation import Draft, draft

MOST_PROBLEMS = 1_000
MOST_EDGES = 12_000


@dataclass(frozen=True)
class Source:
    """The text behind a graph.

    Attributes:
        name: the file that was asked for.
        root: the graph as a tree of values with their places; references are replaced.
    """

    name: str
    root: Mapping

    @cached_property
    def resolved(self) -> str:
        """YAML text that says the same without includes, overrides and references.

        What came from the environment is still a reference. Written where it is asked for: it
        takes as long as to read the graph.
        """
        return emit(_saved(self.root))

    def locate(self, fault: Fault) -> Fault:
        """The fault with the location of its path, or of the nearest place above it.

        A fault that has a location is returned as it is.
        """
        if fault.location is not None:
            return fault
        return replace(fault, location=self._place(fault.path, fault.on_key))

    def hidden(self, text: str) -> str:
        """`text` with the references in place of what came from the environment.

        Values of up to three characters stay: they could be a part of any word.
        """
        for value, reference in self._secrets:
            text = text.replace(value, reference)
        return text

    @cached_property
    def _secrets(self) -> tuple[tuple[str, str], ...]:
        """What came from the environment and what stands for it, the longest first."""
        found = {str(s.value): s.masked for _, s in tree.scalars(self.root) if s.masked is not None}
        longest = sorted(found, key=len, reverse=True)
        return tuple((value, found[value]) for value in longest if len(value) > 3)

    def listed(self, faults: Iterable[Fault]) -> list[Fault]:
        """The faults as they are shown: each with its place, in the order of the places."""
        return limited(_in_order(map(self.locate, faults), self.name))

    def _place(self, path: Path, on_key: bool) -> Location:
        node: Node = self.root
        key = value = node.location
        for step in path:
            if step == 0 and not isinstance(node, tree.Sequence):
                continue  # one loss stands for a list of one
            below = child(node, step)
            if below is None:
                return key
            key = node.entries[str(step)].key if isinstance(node, Mapping) else below.location
            node, value = below, below.location
        return key if on_key else value


@dataclass(frozen=True)
class Loaded:
    """A graph file that was read.

    Attributes:
        spec: what it says.
        source: where it says it.
    """

    spec: GraphSpec
    source: Source

    @property
    def resolved(self) -> str:
        """YAML text that says the same; see `Source.resolved`."""
        return self.source.resolved


@dataclass(frozen=True)
class Reading:
    """A graph file that was read, whether or not its form is right.

    Attributes:
        draft: what it says, and what is wrong with how it says it.
        source: where it says it.
    """

    draft: Draft
    source: Source

    def loaded(self) -> Loaded:
        """What was read, if nothing is wrong with it.

        Raises:
            GraphError: everything that is wrong with its form.
        """
        if self.draft.faults:
            raise GraphError(self.source.listed(self.draft.faults))
        return Loaded(self.draft.finished(), self.source)


def read(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Reading:
    """Reads a graph file: includes, then overrides, then references, then validation.

    Raises:
        GraphError: the file, or one that it includes, is missing or no YAML.
    """
    name = os.fspath(path)
    reader = Reader()
    return _finish(name, reader, reader.read_file(name), overrides)


def reads(text: str, name: str = "<text>", overrides: Sequence[str] = ()) -> Reading:
    """Reads a graph from a text, which may not include files; otherwise as `read`.

    Raises:
        GraphError: the text is no YAML.
    """
    reader = Reader()
    return _finish(name, reader, reader.read_text(from_string(text, name)), overrides)


def load(path: str | os.PathLike[str], overrides: Sequence[str] = ()) -> Loaded:
    """Reads a graph file as `read` does.

    Raises:
        GraphError: everything that is wrong with the form of the file or the overrides.
    """
    return read(path, overrides).loaded()


def loads(text: str, name: str = "<text>", overrides: Sequence[str] = ()) -> Loaded:
    """Reads a graph from a text as `reads` does.

    Raises:
        GraphError: everything that is wrong with the form of the text or the overrides.
    """
    return reads(text, name, overrides).loaded()


def _finish(name: str, reader: Reader, root: Mapping, overrides: Sequence[str]) -> Reading:
    root, refused = override(root, overrides)
    _refuse_large(root)
    done = interpolate(root, os.environ)
    values = list(tree.scalars(done.root))
    origin = Origin(
        masked={path: s.masked for path, s in values if s.masked is not None},
        overridden={path for path, s in values if s.location.file == SOURCE_NAME},
        references=done.references,
    )
    known = [*reader.faults, *done.faults]
    return Reading(draft(plain(done.root), origin, known, refused), Source(name, done.root))


def _refuse_large(root: Mapping) -> None:
    """Checks take the product of problems and edges, and shall take no more than a second or two.

    Raises:
        GraphError: there are more of them than anybody could mean.
    """
    for key, most in (("problems", MOST_PROBLEMS), ("edges", MOST_EDGES)):
        node = child(root, key)
        count = 0
        if isinstance(node, Mapping):
            count = len(node.entries)
        elif isinstance(node, tree.Sequence):
            count = len(node.items)
        if node is not None and count > most:
            raise GraphError(
                [Fault((key,), f"{count:,} {key}, at most {most:,}", "", node.location)]
            )


def _in_order(faults: Iterable[Fault], name: str) -> list[Fault]:
    """Faults by position: the file itself, then what it includes, then overrides."""

    def key(fault: Fault) -> tuple[int, str, int, int]:
        place = fault.location
        if place is None:
            return (0, "", 0, 0)
        group = {name: 0, SOURCE_NAME: 2}.get(place.file, 1)
        return (group, place.file, place.line, place.column)

    return sorted(dict.fromkeys(faults), key=key)


def _saved(node: Node) -> Plain:
    match node:
        case Mapping(entries):
            return {key: _saved(entry.value) for key, entry in entries.items()}
        case tree.Sequence(items):
            return [_saved(item) for item in items]
        case Scalar(value, _, masked):
            if masked is not None:
                return masked
            return escape(value) if isinstance(value, str) else value
