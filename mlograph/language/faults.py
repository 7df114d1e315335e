"""pydantic's errors as plain sentences, each with the path that the user wrote."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic_core import ErrorDetails

from mlograph.errors import Fault, Path, did_you_mean, dotted
from mlograph.language.keys import expected_at, keys_at, unknown_key_hint
from mlograph.language.methods import METHODS
from mlograph.language.scalars import write_scalar

MAX_FAULTS = 100


def show_value(value: object) -> str:
    """A value as messages show it: `'five'`, `nothing`, `a list`."""
    shown = f"an object of type {type(value).__name__}"
    match value:
        case None:
            shown = "nothing"
        case str():
            shown = repr(value if len(value) <= 60 else value[:60] + "…")
        case int() if abs(value) > 10**40:
            shown = "a huge integer"
        case bool() | int() | float():
            shown = write_scalar(value)
        case dict():
            shown = "a mapping" if value else "an empty mapping"
        case list() | tuple():
            shown = "a list" if value else "an empty list"
    return shown


@dataclass(frozen=True)
class Origin:
    """Where the values of a graph came from; by default, they are what somebody wrote.

    Attributes:
        masked: what is shown instead of a value, where it came from the environment.
        overridden: the places of values that overrides gave.
        references: the places that each place refers to.
    """

    masked: Mapping[Path, str] = field(default_factory=dict)
    overridden: Collection[Path] = frozenset()
    references: Mapping[Path, Collection[Path]] = field(default_factory=dict)

    def show(self, path: Path, value: object) -> str:
        """The value at `path` as messages show it."""
        return f"'{self.masked[path]}'" if path in self.masked else show_value(value)


def translate(errors: Sequence[ErrorDetails], data: object, origin: Origin) -> list[Fault]:
    """One fault for each thing that is wrong, in the order of the errors.

    Args:
        errors: from the validation of a `GraphSpec`.
        data: what was validated.
        origin: where its values came from.
    """
    faults: dict[tuple[Path, str], Fault] = {}
    for error in errors:
        path, value = _users_path(error["loc"], data)
        if error["type"] == "too_short" and value:
            continue  # the items are faulty, and each has its own error
        # Beyond the limit nothing is shown, and a search for near names could take minutes.
        words = _fault if len(faults) < MAX_FAULTS else _brief_fault
        fault = words(_Found(error, path, value, data, origin))
        faults.setdefault((fault.path, fault.message), fault)
    return list(faults.values())


def limited(faults: Iterable[Fault]) -> list[Fault]:
    """The first hundred faults, and how many more there are."""
    listed = list(faults)
    left = len(listed) - MAX_FAULTS
    if left <= 0:
        return listed
    return [*listed[:MAX_FAULTS], Fault((), f"and {left} more faults")]


def _users_path(loc: tuple[str | int, ...], data: object) -> tuple[Path, Any]:
    """Where the user wrote what pydantic calls `loc`: less the steps that only the models have."""
    path: Path = ()
    value: Any = data
    for step in loc:
        if path == ("env",) and step == "source":
            continue  # an argument of the Env may have this name
        listed = isinstance(value, (list, tuple)) and isinstance(step, int) and step < len(value)
        if listed or (isinstance(value, dict) and step in value):
            value, path = value[step], (*path, step)
    return path, value


@dataclass(frozen=True)
class _Found:
    """An error of pydantic's, and what the user wrote there."""

    error: ErrorDetails
    path: Path
    value: Any
    data: object
    origin: Origin

    @property
    def shown(self) -> str:
        return self.origin.show(self.path, self.value)


def _brief_fault(found: _Found) -> Fault:
    return Fault(found.path, f"{found.error['type']} {found.error['loc'][-1:]}")


def _fault(found: _Found) -> Fault:
    words = _WORDS.get(found.error["type"])
    if words:
        return words(found)
    if isinstance(found.value, float) and not math.isfinite(found.value):
        return Fault(found.path, f"expected a finite number, got {found.shown}")
    return Fault(found.path, f"expected {expected_at(found.path, found.data)}, got {found.shown}")


def _unknown_key(found: _Found) -> Fault:
    hint = unknown_key_hint(found.path, found.data)
    block, overridden = found.path[:-1], found.origin.overridden
    if (*block, "method") in overridden and found.path not in overridden:
        method = found.error["loc"][-2]
        hint += f"; to drop the options of another method, write {dotted(block)}={method}"
    return Fault(found.path, "unknown key", hint, on_key=True)


def _key_is_no_text(found: _Found) -> Fault:
    message = f"the key {found.error['loc'][-1]!r} is not a text"
    return Fault(found.path[:-1], message, on_key=True)


def _edge_kind(found: _Found) -> Fault:
    name = str(found.path[-1])
    hint = did_you_mean(name, ("u2l", "l2u"))
    return Fault(found.path, f"unknown kind of edge '{name}'", hint, on_key=True)


def _version(found: _Found) -> Fault:
    message = f"format version {found.shown} is not known"
    return Fault(found.path, message, "write 'mlograph: 1'")


def _name(found: _Found) -> Fault:
    return Fault(found.path, f"expected letters, digits, '_', '.' and '-', got {found.shown}")


def _too_few(found: _Found) -> Fault:
    return Fault(found.path, f"expected at least one, got {found.shown}")


def _own_words(found: _Found) -> Fault:
    return Fault(found.path, f"{found.error['msg']}, got {found.shown}")


def _missing_key(found: _Found) -> Fault:
    return _missing(str(found.error["loc"][-1]), found.path, found.value)


def _method(found: _Found) -> Fault:
    path, value, shown = found.path, found.value, found.shown
    if isinstance(value, dict):
        if "method" not in value:
            return _missing("method", path, value)
        path, value = (*path, "method"), value["method"]
        shown = found.origin.show(path, value)
    if not isinstance(value, str):
        return Fault(path, f"expected the name of a method, got {shown}")
    return Fault(path, f"unknown hypergradient method {shown}", did_you_mean(value, METHODS))


def _missing(name: str, path: Path, value: Any) -> Fault:
    if name in ("validator", "source"):
        name = "_target_"
    known = keys_at(path, None)
    # Where keys are not free, those that are not known are reported themselves.
    present = [key for key in value if isinstance(key, str)] if isinstance(value, dict) else []
    slips = present[:MAX_FAULTS] if known.free else []
    for key in slips:
        near = difflib.get_close_matches(key, known.names - set(present), n=1, cutoff=0.6)
        if near and key not in known.names:
            hint = f"is '{key}' a slip for '{near[0]}'?"
            return Fault((*path, name), "missing key", hint, on_key=True)
    return Fault((*path, name), "missing key", on_key=True)


_WORDS: dict[str, Callable[[_Found], Fault]] = {
    "extra_forbidden": _unknown_key,
    "missing": _missing_key,
    "invalid_key": _key_is_no_text,
    "edge_kind": _edge_kind,
    "union_tag_not_found": _method,
    "union_tag_invalid": _method,
    "version": _version,
    "string_pattern_mismatch": _name,
    "too_short": _too_few,
    "import_path": _own_words,
    "edge": _own_words,
    "edge_text": _own_words,
}
