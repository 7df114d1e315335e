"""A report in words, as plain text or for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from math import isfinite
from typing import Any

from mlograph.gradcheck.report import AS_RUN, SOLVED, Report, Row, Solve, UpperReport, is_known
from mlograph.terminal import printable_line

WIDTH = 100
_INDENT = 12

COLUMNS = (
    "method",
    "vs solved",
    "vs as run",
    "at rest",
    "cosine",
    "length",
    "seconds",
    "memory",
    "linear systems",
)
NUMBERS = COLUMNS[1:-1]


def as_text(report: Report) -> str:
    """The whole report; lines hold no control characters."""
    sections = [[*_section(report, upper)] for upper in report.uppers]
    return "\n\n".join("\n".join(map(printable_line, section)) for section in sections) + "\n"


def as_json(report: Report) -> str:
    """The same for programs; what was not measured is null."""
    return json.dumps(_plain(asdict(report) | {"passed": report.passed}), indent=2) + "\n"


def _section(report: Report, upper: UpperReport) -> Iterator[str]:
    yield title(report, upper)
    yield ""
    yield from _table(upper)
    yield ""
    yield from remarks(report, upper)


def title(report: Report, upper: UpperReport) -> str:
    """What is checked."""
    through = ", ".join(f"{name} ({size:,})" for name, size in upper.through)
    numbers = "" if report.precision == "graph" else f", {report.precision}"
    return (
        f"{report.graph}: hypergradient of {upper.upper} ({upper.size:,} parameters) through "
        f"{through}, from {report.start}{numbers}"
    )


def cells(row: Row) -> tuple[str, ...]:
    """A row of the table, one text for each of `COLUMNS`."""
    name = f"* {row.name}" if row.configured else f"  {row.name}"
    numbers = (_error(row.error(SOLVED)), _error(row.error(AS_RUN)), _error(row.at_rest))
    return (
        name,
        *numbers,
        _number(row.cosine, ".4f"),
        _number(row.ratio, ".3g"),
        _number(row.seconds, ".2g"),
        _size(row.megabytes),
        _solves(row.solves),
    )


def _solves(solves: tuple[Solve, ...]) -> str:
    """How linear systems ended, those that ended alike together with the largest residual."""
    texts = []
    for status in dict.fromkeys(solve.status for solve in solves):
        alike = [solve for solve in solves if solve.status == status]
        names = ", ".join(solve.problem for solve in alike)
        residuals = [solve.residual for solve in alike if is_known(solve.residual)]
        left = f" ({max(residuals):.0e})" if residuals else ""
        texts.append(f"{names}: {status}{left}" if len(alike) < len(solves) else status + left)
    return "; ".join(texts)


def _size(megabytes: float) -> str:
    if not is_known(megabytes):
        return "-"
    if megabytes < 1.0:
        return f"{megabytes * 1024:.1f} kB"
    return f"{megabytes:.1f} MB"


def _table(upper: UpperReport) -> Iterator[str]:
    rows = [COLUMNS, *(cells(row) for row in upper.rows if not row.failure)]
    columns = [*zip(*rows, strict=True)]
    widths = [max(map(len, column)) for column in columns]
    for row in rows:
        texts = [
            cell.rjust(width) if column[0] in NUMBERS else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        yield "  ".join(texts).rstrip()


def remarks(report: Report, upper: UpperReport) -> Iterator[str]:
    """What stands below the table, in lines of at most `WIDTH`."""
    yield from _labelled("columns", _columns(upper))
    yield from _labelled("references", _references(upper))
    yield from _labelled("left out", _left_out(upper))
    yield from _labelled("note", upper.notes)
    yield from _labelled("advice", upper.advice)
    yield from _labelled("verdict", [verdict(report, upper)])


def _columns(upper: UpperReport) -> Iterator[str]:
    yield (
        "'*' is what the graph asks for; relative errors against finite differences where all is "
        "solved, where the loops are as they ran, and of the method at the solution against the "
        f"first; cosine and length are to {upper.best or 'nobody'}"
    )


def _references(upper: UpperReport) -> Iterator[str]:
    for reference in upper.references:
        if reference.holds:
            yield f"{reference.kind}: known to {reference.doubt:.0e}"
        else:
            yield f"{reference.kind}: none, {reference.trouble}"


def _left_out(upper: UpperReport) -> Iterator[str]:
    """The methods that gave nothing, with why; those with the same reason together."""
    reasons: dict[str, list[Row]] = {}
    for row in upper.rows:
        if row.failure:
            reasons.setdefault(row.failure.replace(f"'{row.method}'", "it"), []).append(row)
    for reason, rows in reasons.items():
        yield f"{', '.join(row.method or row.name for row in rows)}: {reason}"


def verdict(report: Report, upper: UpperReport) -> str:
    """Whether the graph's own method agrees, and with what."""
    own, kind = upper.own, upper.judged_by
    if own.failure:
        return f"FAILED: {own.name} gives nothing: {own.failure}"
    error = own.error(kind)
    if not is_known(error):
        return f"FAILED: {own.name} cannot be judged without a reference"
    if upper.passed:
        return f"passed: {own.name} agrees with '{kind}' ({error:.1e}, at most {report.tol:g})"
    return f"FAILED: {own.name} differs from '{kind}' by {error:.1e}, at most {report.tol:g}"


def _labelled(label: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        lines = textwrap.wrap(text, WIDTH - _INDENT, subsequent_indent="  ")
        for line in lines:
            yield label.ljust(_INDENT) + line
            label = ""


def _error(number: float) -> str:
    return _number(number, ".1e")


def _number(number: float, form: str) -> str:
    return format(number, form) if is_known(number) else "-"


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value
