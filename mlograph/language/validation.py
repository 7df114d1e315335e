"""Plain values → `GraphSpec`, or everything that is wrong with their form."""

from __future__ import annotations

import keyword
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from pydantic import ValidationError

from mlograph.errors import Fault, GraphError, Path, near_names
from mlograph.language.document import MERGE_KEY
from mlograph.language.doubts import Doubts, doubts_of, is_missing_key
from mlograph.language.faults import MAX_FAULTS, Origin, limited, translate
from mlograph.language.mending import mend
from mlograph.language.spec import NAME_PATTERN, RESERVED_NAMES, GraphSpec


@dataclass(frozen=True)
class Draft:
    """A graph as far as its form lets it be understood.

    Attributes:
        spec: what it says; where there are faults, only what is beyond doubt (see `mending`), or
            None where that is too little.
        faults: everything that is wrong with its form.
        doubts: what in the graph the faults leave open.
    """

    spec: GraphSpec | None
    faults: tuple[Fault, ...] = ()
    doubts: Doubts = field(default_factory=Doubts)

    def finished(self) -> GraphSpec:
        """What the graph says.

        Raises:
            GraphError: everything that is wrong with its form.
        """
        if self.faults:
            raise GraphError(limited(self.faults))
        assert self.spec is not None
        return self.spec


def parse(data: dict[str, object]) -> GraphSpec:
    """The spec of a graph that is written in Python.

    Raises:
        GraphError: everything that is wrong with its form; the faults have no locations.
    """
    return draft(data).finished()


def draft(
    data: object,
    origin: Origin | None = None,
    known: Sequence[Fault] = (),
    refused: Sequence[Fault] = (),
) -> Draft:
    """What plain values say of a graph.

    Args:
        data: the values.
        origin: where they came from.
        known: what is already known to be wrong with them.
        refused: overrides that were not applied to them.
    """
    origin = origin or Origin()
    spec, invalid = _validate(data, origin)
    faults = (*known, *refused, *_own(invalid, [*known, *refused], data, origin))
    if not faults:
        return Draft(spec)
    if len(faults) > MAX_FAULTS:
        return Draft(None, faults)  # no more than these are ever shown
    doubts = doubts_of([*known, *invalid], refused, data).spread(origin.references)
    return Draft(mend(data, doubts), faults, doubts)


def _validate(data: object, origin: Origin) -> tuple[GraphSpec | None, list[Fault]]:
    faults = list(_bad_names(data))
    try:
        return GraphSpec.model_validate(data), faults
    except ValidationError as error:
        faults += translate(error.errors(include_url=False), data, origin)
        return None, faults


def _own(
    invalid: Sequence[Fault], known: Sequence[Fault], data: object, origin: Origin
) -> list[Fault]:
    """Those of the `invalid` faults that are no consequences of others."""
    at_fault = frozenset(f.path for f in (*known, *invalid) if f.path and not f.on_key)
    derived = Doubts(at_fault).spread(origin.references)
    reported = {fault.path for fault in known if fault.path and not fault.on_key}
    own = [
        fault
        for fault in invalid
        if fault.path not in reported
        and not any(map(derived.cover, origin.references.get(fault.path, ())))
    ]
    slips: dict[Path, list[str]] = defaultdict(list)
    for fault in (*known, *own):
        if fault.on_key and fault.path and not is_missing_key(fault, data):
            slips[fault.path[:-1]].append(str(fault.path[-1]))
    return [
        fault
        for fault in own
        if not (is_missing_key(fault, data) and _is_meant(fault, slips[fault.path[:-1]]))
    ]


def _is_meant(missing: Fault, keys: Sequence[str]) -> bool:
    """Whether one of the keys at fault was probably to be the missing one, or to bring it."""
    return MERGE_KEY in keys or bool(near_names(str(missing.path[-1]), keys))


def _bad_names(data: object) -> list[Fault]:
    problems = data.get("problems") if isinstance(data, dict) else None
    if not isinstance(problems, dict):
        return []
    faults = []
    for name in problems:
        path: Path = ("problems", name)
        if not isinstance(name, str):
            continue  # pydantic says so
        if not re.fullmatch(NAME_PATTERN, name):
            message = "a problem's name has letters, digits and '_' and begins with no digit"
            faults.append(Fault(path, message, on_key=True))
        elif name in RESERVED_NAMES:
            reserved = "reserved: " + ", ".join(sorted(RESERVED_NAMES))
            faults.append(Fault(path, "a problem cannot have this name", reserved, on_key=True))
        elif keyword.iskeyword(name):
            # Losses have arguments named like problems.
            hint = "it is a keyword of Python, and no loss could have an argument of this name"
            faults.append(Fault(path, "a problem cannot have this name", hint, on_key=True))
    return faults
