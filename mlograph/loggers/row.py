"""A record as flat plain data, the same for every sink that writes files."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from typing import Any

from mlograph.loggers.protocol import Record
from mlograph.terminal import printable

_OWN_KEYS = frozenset({"kind", "step", "seconds", "text"})
_ESCAPED = {f"values.{name}": name for name in _OWN_KEYS}


def number(value: float) -> float | str:
    """`value`, or `"nan"`, `"inf"`, `"-inf"`: JSON has no such numbers, and `float()` reads them.

    They are not written as null: an overflow and a missing value are different things.
    """
    value = float(value)
    return value if math.isfinite(value) else str(value)


def row(record: Record) -> dict[str, str | int | float]:
    """`kind`, `step`, `seconds`, every value by its name, and `text` where there is one.

    A value that is itself named like one of those four is written as `values.NAME`.
    """
    flat: dict[str, str | int | float] = {
        "kind": record.kind,
        "step": record.step,
        "seconds": round(record.seconds, 6),
    }
    for name, value in record.values.items():
        flat[f"values.{name}" if name in _OWN_KEYS else name] = number(value)
    if record.text:
        flat["text"] = record.text
    return flat


def record(flat: Mapping[str, Any]) -> Record:
    """The record that `row` was given."""
    return Record(
        kind=flat["kind"],
        step=flat["step"],
        seconds=flat["seconds"],
        # A file names each value in every row; interned, these names are in memory once.
        values={
            sys.intern(_ESCAPED.get(name, name)): float(value)
            for name, value in flat.items()
            if name not in _OWN_KEYS
        },
        text=flat.get("text", ""),
    )


def cell(text: str) -> str:
    r"""`text` as a cell of a table that other programs open.

    Control characters are written out, as in `\x1b`: a terminal would obey them, and readers of CSV
    stop at some. Line feeds stay, which quotes keep in their cell. What a spreadsheet would take
    for a formula and carry out gets an apostrophe, as one writes it there; numbers get none.
    """
    shown = printable(text)
    if shown[:1] not in _BEGINS_FORMULA or _is_number(shown):
        return shown
    return f"'{shown}"


_BEGINS_FORMULA = frozenset("=+-@")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
