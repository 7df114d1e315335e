"""Changes to a graph from the command line: `a.b=1`, `+a.b=1`, `~a.b`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from mlograph.errors import Fault, Location, Path, did_you_mean, dotted
from mlograph.language import tree
from mlograph.language.document import MAX_DEPTH, read_document
from mlograph.language.keys import Keys, keys_at, shorthand_at, unknown_key_hint
from mlograph.language.text import UNPRINTABLE, Text
from mlograph.language.tree import Entry, Mapping, Node, Scalar, describe, plain

SOURCE_NAME = "overrides"

_PATH = re.compile(r"[^.\[\]=\s]+(\.[^.\[\]=\s]+|\[\d{1,6}\])*")
_TORN = re.compile(UNPRINTABLE.pattern + "|[\n\r\x85\u2028\u2029]")
_STEP = re.compile(r"[^.\[\]=\s]+")


@dataclass(frozen=True)
class _Step:
    name: str
    place: Location


@dataclass(frozen=True)
class _Override:
    """One change.

    Attributes:
        action: `set` what is there or may be there, `add` what is not, or `remove` what is.
        steps: the keys and indices, each with its place in the override's text.
        value: the new value; `None` to remove.
    """

    action: Literal["set", "add", "remove"]
    steps: tuple[_Step, ...]
    value: Node | None


class _RefusedError(Exception):
    """An override that cannot be carried out."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(faults)
        self.faults = faults


def override(root: Mapping, texts: Sequence[str]) -> tuple[Mapping, list[Fault]]:
    """The tree with the overrides applied in order, and what is wrong with those that were not.

    `a.b=v` sets a value that the graph has or that the language knows at this place; `+a.b=v`
    adds one that the graph has not; `~a.b` removes one that it has. Values are YAML. Faults stand
    in a text named `overrides` with one override in a line.
    """
    faults: list[Fault] = []
    for number, text in enumerate(texts, start=1):
        try:
            root = _Change(root, _read(text, number)).result()
        except _RefusedError as refusal:
            faults += refusal.faults
    return root, faults


def _read(text: str, number: int) -> _Override:
    # A line break would tear the override's one line apart in a message.
    shown = _TORN.sub("�", text)

    def place(index: int) -> Location:
        return Location(SOURCE_NAME, number, index + 1, shown)

    if shown != text:
        index = next(i for i, char in enumerate(shown) if char != text[i])
        raise _RefusedError(
            Fault((), "an override is one line of printable text", "", place(index))
        )
    start = 1 if text[:1] in ("+", "~") else 0
    match = _PATH.match(text, start)
    end = match.end() if match else start
    if match is None or text[end : end + 1] not in ("", "="):
        raise _RefusedError(Fault((), "expected a path such as engine.seed", "", place(end)))
    steps = [_Step(m.group(), place(m.start())) for m in _STEP.finditer(text, start, end)]
    if len(steps) > MAX_DEPTH:
        raise _RefusedError(Fault((), f"a path of more than {MAX_DEPTH} steps", "", place(start)))
    path = tuple(step.name for step in steps)
    if text[:1] == "~":
        if end < len(text):
            raise _RefusedError(Fault(path, "what is removed is given no value", "", place(end)))
        return _Override("remove", tuple(steps), None)
    if end == len(text):
        hint = f"write {text}=VALUE, or ~{text[start:]} to remove it"
        raise _RefusedError(Fault(path, "no value is given", hint, place(end)))
    value = _value(text, end + 1, path, number)
    return _Override("add" if start else "set", tuple(steps), value)


def _value(text: str, start: int, path: Path, number: int) -> Node:
    source = Text(SOURCE_NAME, text[start:], (text,), number, start + 1)
    document = read_document(source)
    if document.faults:
        raise _RefusedError(
            *(replace(fault, path=(*path, *fault.path)) for fault in document.faults)
        )
    # Nothing, as in `a.b=`, is null: as it would be in a file.
    return document.root or Scalar(None, source.place(0, 0))


class _Change:
    """One override on its way down a tree."""

    def __init__(self, root: Mapping, change: _Override) -> None:
        self._root = root
        self._change = change

    def result(self) -> Mapping:
        first = self._change.steps[0]
        if first.name == "include":
            raise self._refuse(("include",), first, "what a file includes cannot be overridden")
        changed = self._within(self._root, (), self._change.steps)
        assert isinstance(changed, Mapping)
        return changed

    def _within(self, node: Node, path: Path, steps: tuple[_Step, ...]) -> Node:
        if isinstance(node, Scalar):
            node = self._opened(node, path, steps[0])
        if isinstance(node, tree.Sequence):
            return self._in_list(node, path, steps)
        step, rest = steps[0], steps[1:]
        entries = dict(node.entries)
        entry = entries.get(step.name)
        if entry is None:
            self._check_absent(node, path, step)
            below: Node = Mapping({}, step.place)
            key = step.place
        else:
            below, key = entry.value, entry.key
        if rest:
            if entry is None and shorthand_at((*path, step.name)) == "method":
                below = Scalar("cg", step.place)  # the language's default method
            entries[step.name] = Entry(key, self._within(below, (*path, step.name), rest))
        elif self._change.value is None:
            del entries[step.name]
        else:
            if entry is not None:
                self._check_present((*path, step.name), step)
            entries[step.name] = Entry(step.place, self._change.value)
        return replace(node, entries=entries)

    def _in_list(self, node: tree.Sequence, path: Path, steps: tuple[_Step, ...]) -> Node:
        step, rest = steps[0], steps[1:]
        items = list(node.items)
        below = tree.child(node, step.name)
        appended = self._change.action == "add" and not rest and step.name == str(len(items))
        if below is None and not appended:
            message = f"'{dotted(path)}' is a list of {len(items)}"
            hint = f"indices: 0 to {len(items) - 1}" if items else ""
            if self._change.action == "add" and not rest:
                hint = f"to add to it, write {dotted((*path, len(items)))}"
            index = int(step.name) if step.name.isdecimal() else step.name
            raise self._refuse((*path, index), step, message, hint)
        if below is None:
            assert self._change.value is not None
            items.append(self._change.value)
            return replace(node, items=tuple(items))
        index = int(step.name)
        if rest:
            items[index] = self._within(below, (*path, index), rest)
        elif self._change.value is None:
            del items[index]
        else:
            self._check_present((*path, index), step)
            items[index] = self._change.value
        return replace(node, items=tuple(items))

    def _opened(self, node: Scalar, path: Path, step: _Step) -> Mapping:
        """The mapping that a bare text is short for: `adam` for `{_target_: adam}`."""
        short = shorthand_at(path)
        if short and isinstance(node.value, str) and self._change.action != "remove":
            return Mapping({short: Entry(node.location, node)}, node.location)
        if node.value is None and self._change.action != "remove":
            return Mapping({}, node.location)
        message = f"'{dotted(path)}' is {describe(node)}, not a mapping"
        raise self._refuse((*path, step.name), step, message)

    def _check_absent(self, node: Mapping, path: Path, step: _Step) -> None:
        """Whether a key that the graph has not may be named.

        Raises:
            _RefusedError: it is to be removed, or set although nothing is known of it.
        """
        keys = keys_at(path, plain(self._root))
        known = step.name in keys.names
        if self._change.action == "add" or (self._change.action == "set" and known):
            return
        absent = (*path, step.name)
        raise self._refuse(absent, step, *self._absence(node, absent, step, keys))

    def _absence(self, node: Mapping, path: Path, step: _Step, keys: Keys) -> tuple[str, str]:
        if self._change.action == "remove":
            return "there is nothing to remove", did_you_mean(step.name, node.entries)
        if not keys.free:
            return "unknown key", unknown_key_hint(path, plain(self._root))
        near = did_you_mean(step.name, [*node.entries, *keys.names])
        add = f"to add a new key, write +{self._change.steps[-1].place.text}"
        hint = f"{near} {add}" if near.startswith("did") else add
        return "the graph has no such key", hint

    def _check_present(self, path: Path, step: _Step) -> None:
        if self._change.action == "add":
            hint = f"to change it, write {step.place.text[1:]}"
            raise self._refuse(path, step, "the graph has this key already", hint)

    def _refuse(self, path: Path, step: _Step, message: str, hint: str = "") -> _RefusedError:
        return _RefusedError(Fault(path, message, hint, step.place, on_key=True))
