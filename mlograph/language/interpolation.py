"""`${a.b}` and `${env:NAME}`: references replaced by what they refer to."""

from __future__ import annotations

import re
from collections.abc import Mapping as Environment
from dataclasses import dataclass, replace

from mlograph.errors import Fault, Location, Path, did_you_mean, dotted
from mlograph.language.faults import MAX_FAULTS
from mlograph.language.scalars import read_plain, write_scalar
from mlograph.language.text import MAX_BYTES
from mlograph.language.tree import (
    Entry,
    Mapping,
    Node,
    Scalar,
    Sequence,
    Value,
    child,
    describe,
)

LONGEST_CHAIN = 64

_PIECE = re.compile(r"\$\$\{|\$\{(?P<name>[^{}]*)\}|\$\{")
_STEP = re.compile(r"[^.\[\]\s]+|\[\d+\]")
_REFERENCE = re.compile(r"[^.\[\]\s:]+(\.[^.\[\]\s:]+|\[\d+\])*")
_ENVIRONMENT = re.compile(r"env:(?P<name>[A-Za-z_][A-Za-z0-9_]*)(,(?P<default>.*))?", re.DOTALL)


def escape(text: str) -> str:
    """A text that interpolation turns into `text`."""
    return text.replace("${", "$${")


@dataclass(frozen=True)
class _Resolved:
    """A scalar without references; `masked` is how it is saved, `chain` how far it came."""

    value: Value
    masked: str | None = None
    chain: int = 0

    def saved(self) -> str:
        return escape(write_scalar(self.value)) if self.masked is None else self.masked


@dataclass(frozen=True)
class Interpolated:
    """A tree without references.

    Attributes:
        root: the tree; what leads nowhere is still as it was written.
        faults: what is wrong with that.
        references: the places that each place refers to.
    """

    root: Mapping
    faults: list[Fault]
    references: dict[Path, set[Path]]


class _FailedError(Exception):
    """A reference that leads nowhere; its fault is on record."""


def interpolate(root: Mapping, environ: Environment[str, str]) -> Interpolated:
    """The tree with all references replaced, and what is wrong with those that could not be."""
    interpolator = _Interpolator(root, environ)
    replaced = interpolator.mapping(root, ())
    return Interpolated(replaced, interpolator.faults, interpolator.references)


class _Interpolator:
    def __init__(self, root: Mapping, environ: Environment[str, str]) -> None:
        self.faults: list[Fault] = []
        self.references: dict[Path, set[Path]] = {}
        self._root = root
        self._environ = environ
        self._known: dict[Path, _Resolved | None] = {}
        self._active: list[Path] = []
        self._characters = 0

    def mapping(self, node: Mapping, path: Path) -> Mapping:
        entries = {}
        for key, entry in node.entries.items():
            if "${" in key:
                message = "references cannot stand in keys"
                self.faults.append(Fault((*path, key), message, "", entry.key, on_key=True))
            entries[key] = Entry(entry.key, self._node(entry.value, (*path, key)))
        return replace(node, entries=entries)

    def _node(self, node: Node, path: Path) -> Node:
        match node:
            case Mapping():
                return self.mapping(node, path)
            case Sequence(items):
                done = tuple(self._node(item, (*path, i)) for i, item in enumerate(items))
                return replace(node, items=done)
            case Scalar(str() as text) if "${" in text:
                try:
                    found = self._scalar(node, path)
                except _FailedError:
                    return node
                return replace(node, value=found.value, masked=found.masked)
            case _:
                return node

    def _scalar(self, node: Scalar, path: Path) -> _Resolved:
        if not isinstance(node.value, str) or "${" not in node.value:
            return _Resolved(node.value)
        if path not in self._known:
            self._active.append(path)
            self._known[path] = None
            try:
                self._known[path] = self._text(node.value, path, node.location)
            finally:
                self._active.pop()
        found = self._known[path]
        if found is None:
            raise _FailedError
        return found

    def _text(self, text: str, path: Path, place: Location) -> _Resolved:
        whole = _PIECE.fullmatch(text)
        if whole and whole["name"] is not None:
            return self._reference(whole, path, place, inside=False)
        value, saved, masked, chain, end = "", "", False, 0, 0
        for piece in _PIECE.finditer(text):
            between = text[end : piece.start()]
            end = piece.end()
            if piece.group() == "$${":
                value, saved = value + between + "${", saved + between + "$${"
                continue
            part = self._reference(piece, path, place, inside=True)
            value += between + write_scalar(part.value)
            saved += between + part.saved()
            masked = masked or part.masked is not None
            chain = max(chain, part.chain)
        value, saved = value + text[end:], saved + text[end:]
        return _Resolved(value, saved if masked else None, chain)

    def _reference(
        self, piece: re.Match[str], path: Path, place: Location, inside: bool
    ) -> _Resolved:
        name = piece["name"]
        if name is None:
            raise self._fail(path, place, "'${' without its '}'", "a plain '${' is written '$${'")
        if name.startswith("env:"):
            return self._environment(piece.group(), name, path, place, inside)
        if not _REFERENCE.fullmatch(name):
            message = f"'{piece.group()}' is no reference"
            raise self._fail(path, place, message, "write ${a.b}, or $${ for a plain '${'")
        target, node = self._find(name, path, place)
        self.references.setdefault(path, set()).add(target)
        if target in self._active:
            names = [*self._active[self._active.index(target) :], target]
            circle = " -> ".join(map(dotted, names))
            raise self._fail(path, place, f"references go round in a circle: {circle}")
        if len(self._active) > LONGEST_CHAIN:
            raise self._fail(path, place, f"a chain of more than {LONGEST_CHAIN} references")
        found = self._scalar(node, target)
        if found.chain >= LONGEST_CHAIN:
            raise self._fail(path, place, f"a chain of more than {LONGEST_CHAIN} references")
        self._spend(found.value, path, place)
        return replace(found, chain=found.chain + 1)

    def _find(self, name: str, path: Path, place: Location) -> tuple[Path, Scalar]:
        node: Node = self._root
        target: Path = ()
        for step in (token.strip("[]") for token in _STEP.findall(name)):
            found = child(node, step)
            if found is None:
                message = f"'${{{name}}}' refers to nothing in this graph"
                raise self._fail(path, place, message, self._near(node, step))
            target = (*target, int(step) if isinstance(node, Sequence) else step)
            node = found
        if not isinstance(node, Scalar):
            message = f"'${{{name}}}' refers to {describe(node)}, not to a single value"
            raise self._fail(path, place, message)
        return target, node

    def _near(self, node: Node, step: str) -> str:
        if len(self.faults) > MAX_FAULTS:
            return ""  # it will not be shown, and a search for each could take minutes
        return did_you_mean(step, map(str, _steps(node)))

    def _environment(
        self, written: str, name: str, path: Path, place: Location, inside: bool
    ) -> _Resolved:
        match = _ENVIRONMENT.fullmatch(name)
        if match is None:
            raise self._fail(path, place, f"'{written}' names no environment variable")
        default: str | None = match["default"]
        text = self._environ.get(match["name"], default)
        if text is None:
            message = f"the environment variable '{match['name']}' is not set"
            hint = f"a default is written ${{env:{match['name']},default}}"
            raise self._fail(path, place, message, hint)
        self._spend(text, path, place)
        if inside or not text:
            return _Resolved(text, written)
        try:
            return _Resolved(read_plain(text), written)
        except ValueError:
            return _Resolved(text, written)

    def _spend(self, value: Value, path: Path, place: Location) -> None:
        self._characters += len(value) if isinstance(value, str) else 0
        if self._characters > MAX_BYTES:
            raise self._fail(path, place, "references make this graph's text too long")

    def _fail(self, path: Path, place: Location, message: str, hint: str = "") -> _FailedError:
        self.faults.append(Fault(path, message, hint, place))
        return _FailedError()


def _steps(node: Node) -> list[str | int]:
    match node:
        case Mapping(entries):
            return list(entries)
        case Sequence(items):
            return list(range(len(items)))
        case Scalar():
            return []
