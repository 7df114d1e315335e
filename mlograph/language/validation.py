"""Plain values → `GraphSpec`, or everything that is wrong with them."""

from __future__ import annotations

import keyword
import re

from pydantic import ValidationError

from mlograph.errors import Fault, GraphError, Path
from mlograph.language.faults import Show, limited, show_value, translate
from mlograph.language.spec import NAME_PATTERN, RESERVED_NAMES, GraphSpec


def parse(data: dict[str, object]) -> GraphSpec:
    """The spec of a graph that is written in Python.

    Raises:
        GraphError: everything that is wrong with it; the faults have paths, but no locations.
    """
    spec, faults = validate(data, lambda _, value: show_value(value))
    if spec is None:
        raise GraphError(limited(faults))
    return spec


def validate(data: object, show: Show) -> tuple[GraphSpec | None, list[Fault]]:
    """The spec, or `None` and what is wrong; `show` is as in `faults.translate`."""
    faults = list(_bad_names(data))
    spec = None
    try:
        spec = GraphSpec.model_validate(data)
    except ValidationError as error:
        faults += translate(error.errors(include_url=False), data, show)
    return (None, faults) if faults else (spec, [])


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
