"""The page about one run."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping
from html import escape
from itertools import groupby
from typing import Any

from mlograph.charts import Series, draw, gather
from mlograph.charts.figures import curve_figure, figure, figures, importance, meaning
from mlograph.diagrams.page import night
from mlograph.loggers.lines import duration, short
from mlograph.loggers.protocol import Record
from mlograph.report.content import Report
from mlograph.report.grouping import cut
from mlograph.report.html import document, section, table

_MOST_EVENTS = 200
_MOST_CURVES = 150
# What is larger, or no number, was not measured.
_LARGEST = 1e300


def page(report: Report) -> str:
    """The page as text; all that comes from the graph or the run is escaped."""
    sections = [
        _head(report),
        section("Result", _result_table(report)),
        section("Validation", _validation_charts(report)),
        section("Graph", diagram(report.diagram)),
        *(section(title, charts) for title, charts in _problem_charts(report)),
        section("Learned", _pictures(report)),
        section("Events", _event_list(report)),
        section("Plan", _block(report.plan)),
        section("Profile", _profile(report.profile)),
        section("Environment", _block(report.environment)),
    ]
    return document(report.name, sections)


def diagram(file: bytes) -> str:
    """An SVG file as an image, which cannot act on the page, whoever wrote it."""
    text = file.decode(errors="replace")
    opening = re.search(r"<svg\b[^>]*>", text)
    if opening is None:
        return ""
    # Images know whether the screen is dark, but not the style of the page around them.
    styled = f"{text[: opening.end()]}<style>{night('svg')}</style>{text[opening.end() :]}"
    data = base64.b64encode(styled.encode()).decode()
    source = f"data:image/svg+xml;base64,{data}"
    return f'<div class="diagram"><img src="{source}" alt="Diagram of the graph"></div>'


def _head(report: Report) -> str:
    state = "good" if report.finished else "bad"
    description = f"<p>{escape(report.description)}</p>" if report.description else ""
    command = f'<pre class="command">{escape(report.command)}</pre>' if report.command else ""
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in report.remarks)
    made = f"{report.steps:,} of {report.total:,}" if report.total else f"{report.steps:,}"
    return (
        f"<header>\n<h1>{escape(report.name)}</h1>\n{description}"
        f'<p><span class="{state}">{escape(report.ended)}</span> '
        f"· {made} updates · {duration(report.seconds)}</p>\n{command}\n"
        + (f'<ul class="remarks">{remarks}</ul>\n' if remarks else "")
        + "</header>"
    )


def _block(text: str) -> str:
    return f"<pre>{escape(text.strip())}</pre>" if text.strip() else ""


def _result_table(report: Report) -> str:
    """The last validation and every baseline, one row each."""
    validations = [record for record in report.records if record.kind == "validation"]
    rows = [(f"this run, step {record.step}", record) for record in validations[-1:]]
    own = 0 if rows else -1
    rows += [(record.text or "baseline", record) for record in _baselines(report)]
    names = list(dict.fromkeys(name for _, record in rows for name in record.values))
    if not names:
        return ""
    cells = [
        [escape(title)]
        + [short(record.values[name]) if name in record.values else "–" for name in names]
        for title, record in rows
    ]
    return table(["", *(escape(cut(name)) for name in names)], cells, own)


def _baselines(report: Report) -> tuple[Record, ...]:
    """Every baseline once, as it was measured last."""
    latest = {record.text: record for record in report.records if record.kind == "baseline"}
    return tuple(latest.values())


def _validation_charts(report: Report) -> str:
    parts = []
    for series in gather(report.records, "validation")[:_MOST_CURVES]:
        if len(series.points) + len(series.broken) > 1:
            levels = {
                record.text or "baseline": record.values[series.name]
                for record in _baselines(report)
                if series.name in record.values
            }
            parts.append(curve_figure(series.name, series, levels))
    return figures(parts)


def _problem_charts(report: Report) -> Iterator[tuple[str, str]]:
    """A title and its charts for every problem, then for names that belong to none."""
    groups = by_problem(gather(report.records, "train"), report.problems)
    most = max(4, _MOST_CURVES // max(1, len(groups)))
    for problem, curves in groups.items():
        moving = {name: one for name, one in curves.items() if not one.is_constant}
        upper = problem in report.uppers
        drawn = [
            curve_figure(name, one, about=meaning(name, upper=upper))
            for name, one in list(moving.items())[:most]
        ]
        still = [
            f'<span title="{escape(meaning(name, upper=upper))}">{escape(cut(name))} '
            f"{short(one.points[0][1])}</span>"
            for name, one in curves.items()
            if one.is_constant
        ]
        notes = f'<p class="still">Constant: {", ".join(still[:most])}</p>' if still else ""
        if len(moving) > most:
            notes += f'<p class="still">… and {len(moving) - most:,} more in metrics.jsonl</p>'
        yield problem or "Other", figures(drawn) + notes


def by_problem(
    found: tuple[Series, ...], problems: tuple[str, ...]
) -> dict[str, dict[str, Series]]:
    """Series by problem and by what is left of their names; an empty problem holds the others."""
    order = {name: index for index, name in enumerate(problems)}

    def owner(series: Series) -> str:
        first = series.name.split(".", 1)[0]
        return first if first in order and "." in series.name else ""

    def place(series: Series) -> tuple[int, int]:
        problem = owner(series)
        name = series.name.removeprefix(f"{problem}.")
        return order.get(problem, len(order)), importance(name)

    return {
        problem: {series.name.removeprefix(f"{problem}."): series for series in group}
        for problem, group in groupby(sorted(found, key=place), key=owner)
    }


def _pictures(report: Report) -> str:
    return figures([figure(one.title, (), draw(one)) for one in report.learned])


def _profile(profile: Mapping[str, Any]) -> str:
    """Tables of `profile.json`: each list of objects in it is one; other entries are one line."""
    facts = []
    for name, value in profile.items():
        if isinstance(value, dict):
            inner = (f"{key} {_measured(key, one)}" for key, one in value.items())
            facts.append(f"{name}: {', '.join(inner)}")
        elif not isinstance(value, list):
            facts.append(f"{name}: {_measured(name, value)}")
    parts = [f'<p class="still">{escape("; ".join(facts))}</p>'] if facts else []
    for name, value in profile.items():
        rows = [row for row in value if isinstance(row, dict)] if isinstance(value, list) else []
        if rows:
            filled = (key for row in rows for key, one in row.items() if one not in (None, ""))
            keys = list(dict.fromkeys(filled))
            cells = [[escape(_measured(key, row.get(key))) for key in keys] for row in rows]
            parts += [f"<h3>By {escape(name.removesuffix('s'))}</h3>"]
            parts += [table([escape(key) for key in keys], cells)]
    return "\n".join(parts)


def _measured(name: str, value: object) -> str:
    """A number of a profile with its unit, which its name tells."""
    if value is None:
        return "–"
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _LARGEST:
        return str(value)
    if name in {"seconds", "longest", "mean"}:
        return duration(value) if value >= 1 else f"{1000 * value:.3g} ms"
    if name == "share":
        return f"{value:.1%}"
    if name in {"peak", "growth"}:
        return f"{value / 1e6:,.1f} MB"
    return f"{value:,}" if isinstance(value, int) else short(value)


def _event_list(report: Report) -> str:
    events = [record for record in report.records if record.kind == "event"]
    if not events:
        return ""
    items = [
        f"<li><small>step {record.step}</small> {escape(record.text)}</li>"
        for record in events[:_MOST_EVENTS]
    ]
    if len(events) > _MOST_EVENTS:
        items.append(f"<li>… and {len(events) - _MOST_EVENTS:,} more in metrics.jsonl</li>")
    return f"<ul>\n{''.join(items)}\n</ul>"
