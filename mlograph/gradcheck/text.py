"""A report in words, as plain text or for programs."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from math import isfinite, nan
from typing import Any

from mlograph.gradcheck.report import AS_RUN, SOLVED, Report, Row, Solve, UpperReport, is_known
from mlograph.linear import Status
from mlograph.terminal import printable_line

WIDTH = 100
_INDENT = 12

SOLVED_COLUMN, RUN_COLUMN, REST_COLUMN = "vs solved", "vs as run", "at rest"

NUMBERS = (SOLVED_COLUMN, RUN_COLUMN, REST_COLUMN, "cosine", "length", "seconds", "memory")
COLUMNS = ("method", *NUMBERS, "linear systems")

# What stands in a column; the others explain themselves.
_MEANINGS = {
    "method": "*: what the graph asks for",
    SOLVED_COLUMN: "relative error against finite differences of the loss, all solved",
    RUN_COLUMN: "relative error against those of the loss, the inner loops run again",
    REST_COLUMN: "relative error where all is solved, against the same as 'vs solved'",
    "cosine": "with the hypergradient of {best}",
    "length": "in units of the length of that",
    "seconds": "for an inner loop and its hypergradient",
    "memory": "that is kept for derivatives, at the most",
    "linear systems": "how they ended, and their relative residuals",
}


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


def shown(upper: UpperReport) -> tuple[tuple[str, ...], list[tuple[Row, tuple[str, ...]]]]:
    """The names of the columns that say something, and the rows with one text for each."""
    rows = [(row, _cells(upper, row)) for row in upper.rows if not row.failure]
    kept = [
        index
        for index, name in enumerate(COLUMNS)
        if name == "method" or any(texts[index] not in ("", "-") for _, texts in rows)
    ]
    names = tuple(COLUMNS[index] for index in kept)
    return names, [(row, tuple(texts[index] for index in kept)) for row, texts in rows]


def _cells(upper: UpperReport, row: Row) -> tuple[str, ...]:
    """A row of the table, one text for each of `COLUMNS`."""
    doubts = {reference.kind: reference.doubt for reference in upper.references}
    return (
        f"* {row.name}" if row.configured else f"  {row.name}",
        _error(row.error(SOLVED), doubts.get(SOLVED, nan)),
        _error(row.error(AS_RUN), doubts.get(AS_RUN, nan)),
        _error(row.at_rest, doubts.get(SOLVED, nan)),
        _number(row.cosine, ".4f"),
        _number(row.ratio, ".3g"),
        _number(row.seconds, ".2g"),
        _size(row.megabytes),
        _solves(row.solves),
    )


def _solves(solves: tuple[Solve, ...]) -> str:
    """How linear systems ended, those that ended alike together with the largest residual."""
    texts = []
    # Without a residual to tell of, a method that just stops says nothing.
    told = [s for s in solves if is_known(s.residual) or s.status != str(Status.MAX_ITERATIONS)]
    for status in dict.fromkeys(solve.status for solve in told):
        alike = [solve for solve in told if solve.status == status]
        names = ", ".join(solve.problem for solve in alike)
        residuals = [solve.residual for solve in alike if is_known(solve.residual)]
        left = f" ({max(residuals):.0e})" if residuals else ""
        texts.append(f"{names}: {status}{left}" if len(alike) < len(told) else status + left)
    return "; ".join(texts)


def _size(megabytes: float) -> str:
    if not is_known(megabytes):
        return "-"
    if megabytes < 1.0:
        return f"{megabytes * 1024:.1f} kB"
    return f"{megabytes:.1f} MB"


def _table(upper: UpperReport) -> Iterator[str]:
    names, rows = shown(upper)
    lines = [names, *(texts for _, texts in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        texts = [
            cell.rjust(width) if name in NUMBERS else cell.ljust(width)
            for name, cell, width in zip(names, line, widths, strict=True)
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
    names, _ = shown(upper)
    width = max(map(len, names)) + 2
    for name, text in _MEANINGS.items():
        if name in names:
            yield f"{name}:".ljust(width) + text.format(best=upper.best)


def _references(upper: UpperReport) -> Iterator[str]:
    for one in upper.references:
        if not one.holds:
            yield f"{one.kind}: none, {one.trouble}"
            continue
        count = len(one.slopes)
        along = f"{count} direction{'s' * (count > 1)}"
        if count < one.asked:
            along = f"{count} of {one.asked} directions, for want of time (--budget gives more)"
        yield f"{one.kind}: known to {one.doubt:.0e}, along {along}"


def _left_out(upper: UpperReport) -> Iterator[str]:
    """The methods that gave nothing, with why; those with the same reason together."""
    reasons: dict[str, list[str]] = {}
    for row in upper.rows:
        if row.failure:
            name = row.method or row.name
            names = reasons.setdefault(row.failure.replace(f"'{row.method}'", "{}"), [])
            names += [name] * (name not in names)
    for reason, names in reasons.items():
        yield f"{', '.join(names)}: {reason.replace('{}', 'each' if names[1:] else 'it')}"


def verdict(report: Report, upper: UpperReport) -> str:
    """Whether the graph's own method agrees, and with what."""
    own, kind = upper.own, upper.judged_by
    if own.failure:
        return f"FAILED: {own.name} gives nothing: {own.failure}"
    error = own.error(kind)
    if not is_known(error):
        return f"undecided: there is nothing to compare {own.name} with"
    doubts = {one.kind: one.doubt for one in upper.references}
    off = f"{_error(error, doubts[kind])}, at most {report.tol:g}"
    if upper.passed:
        return f"passed: {own.name} agrees with '{kind}' ({off})"
    if kind != upper.claimed:
        return (
            f"undecided: {own.name} is about '{upper.claimed}', which could not be had; it differs "
            f"from '{kind}' by {off}"
        )
    if own.at_rest <= report.tol:
        rest = _error(own.at_rest, doubts[SOLVED])
        return (
            f"FAILED here: {own.name} is right where everything is solved ({rest}), but the loops "
            f"end short of that, where it differs from '{kind}' by {off}"
        )
    return f"FAILED: {own.name} differs from '{kind}' by {off}"


def _labelled(label: str, texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        lines = textwrap.wrap(text, WIDTH - _INDENT, subsequent_indent="  ")
        for line in lines:
            yield label.ljust(_INDENT) + line
            label = ""


def _error(number: float, doubt: float) -> str:
    """An error, or that it is less than could be seen."""
    return f"<{doubt:.0e}" if number < doubt else _number(number, ".1e")


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
