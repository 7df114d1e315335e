"""The report of a run as one HTML page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from itertools import groupby

from mlograph.loggers.lines import duration, short
from mlograph.loggers.protocol import Record
from mlograph.report.chart import chart
from mlograph.report.series import Series, gather

_MOST_EVENTS = 200


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    What is known before a run comes first; the rest has defaults.

    Attributes:
        name: of the graph.
        description: of the graph; may be empty.
        command: that repeats the run; may be empty.
        diagram: of the graph, as an SVG file; may be empty.
        plan: of the graph, as text.
        problems: their names, in the order of the file.
        environment: versions, device and threads, as text.
        ended: why the run ended, in words.
        finished: whether it ended as it was meant to.
        steps: updates that were made, and `total` those that were asked for.
        seconds: wall-clock time.
        records: everything that was logged.
    """

    name: str
    description: str
    command: str
    diagram: bytes
    plan: str
    problems: tuple[str, ...]
    environment: str
    ended: str = "not run"
    finished: bool = False
    steps: int = 0
    total: int = 0
    seconds: float = 0.0
    records: tuple[Record, ...] = ()


def page(report: Report) -> str:
    """The page as text; all that comes from the graph or the run is escaped."""
    style = files(__package__ or "mlograph.report").joinpath("style.css").read_text("utf-8")
    sections = [
        _head(report),
        _section("Result", _result_table(report)),
        _section("Validation", _validation_charts(report)),
        *(_section(title, charts) for title, charts in _problem_charts(report)),
        _section("Events", _event_list(report)),
        _section("Graph", _inline(report.diagram)),
        _section("Plan", f"<pre>{escape(report.plan.strip())}</pre>"),
        _section("Environment", f"<pre>{escape(report.environment.strip())}</pre>"),
    ]
    # The policy keeps the page from reaching for anything outside, whatever stands in it.
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.name)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n"
        + "\n".join(filter(None, sections))
        + "\n</body>\n</html>\n"
    )


def _section(title: str, body: str) -> str:
    """A part of the page; nothing where there is nothing to show."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def _head(report: Report) -> str:
    state = "good" if report.finished else "bad"
    description = f"<p>{escape(report.description)}</p>" if report.description else ""
    command = f'<pre class="command">{escape(report.command)}</pre>' if report.command else ""
    return (
        f"<header>\n<h1>{escape(report.name)}</h1>\n{description}"
        f'<p><span class="{state}">{escape(report.ended)}</span> '
        f"· {report.steps:,} of {report.total:,} updates · {duration(report.seconds)}</p>\n"
        f"{command}\n</header>"
    )


def _result_table(report: Report) -> str:
    """The last validation and every baseline, one row each."""
    validations = [record for record in report.records if record.kind == "validation"]
    rows = [(f"this run, step {record.step}", record) for record in validations[-1:]]
    rows += [(record.text or "baseline", record) for record in _baselines(report)]
    names = list(dict.fromkeys(name for _, record in rows for name in record.values))
    if not names:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = [f'<div class="wide"><table>\n<tr><th></th>{head}</tr>']
    for title, record in rows:
        cells = "".join(
            f"<td>{short(record.values[name]) if name in record.values else '–'}</td>"
            for name in names
        )
        kind = ' class="own"' if record.kind == "validation" else ""
        lines.append(f"<tr{kind}><th>{escape(title)}</th>{cells}</tr>")
    return "\n".join([*lines, "</table></div>"])


def _baselines(report: Report) -> tuple[Record, ...]:
    """Every baseline once, as it was measured last."""
    latest = {record.text: record for record in report.records if record.kind == "baseline"}
    return tuple(latest.values())


def _validation_charts(report: Report) -> str:
    figures = []
    for series in gather(report.records, "validation"):
        if len(series.points) + len(series.broken) > 1:
            levels = {
                record.text or "baseline": record.values[series.name]
                for record in _baselines(report)
                if series.name in record.values
            }
            figures.append(_figure(series.name, series, levels))
    return _figures(figures)


def _problem_charts(report: Report) -> Iterator[tuple[str, str]]:
    """A title and its charts for every problem, then for names that belong to none."""
    order = {name: index for index, name in enumerate(report.problems)}

    def owner(series: Series) -> str:
        first = series.name.split(".", 1)[0]
        return first if first in order and "." in series.name else ""

    def place(series: Series) -> int:
        return order.get(owner(series), len(order))

    for name, group in groupby(sorted(gather(report.records, "train"), key=place), key=owner):
        titled = {series.name.removeprefix(f"{name}."): series for series in group}
        moving = [
            _figure(title, series, {}) for title, series in titled.items() if not series.is_constant
        ]
        still = [
            f"{escape(title)} {short(series.points[0][1])}"
            for title, series in titled.items()
            if series.is_constant
        ]
        constants = f'<p class="still">Constant: {", ".join(still)}</p>' if still else ""
        yield name or "Other", _figures(moving) + constants


def _figures(figures: list[str]) -> str:
    return f'<div class="figures">\n{"".join(figures)}</div>' if figures else ""


def _figure(title: str, series: Series, levels: dict[str, float]) -> str:
    finite = {name: value for name, value in levels.items() if abs(value) < float("inf")}
    facts = []
    if series.points:
        values = [value for _, value in series.points]
        facts = [f"last {short(values[-1])}", f"min {short(min(values))}"]
        facts += [f"max {short(max(values))}"]
    if series.broken:
        facts.append(f'<span class="bad">{len(series.broken)} not finite</span>')
    return (
        f"<figure>\n<figcaption><b>{escape(title)}</b> <small>{' · '.join(facts)}</small>"
        f"</figcaption>\n{chart(series, finite)}\n</figure>\n"
    )


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


def _inline(file: bytes) -> str:
    """An SVG file without the declarations that only a file of its own may have."""
    document = file.decode(errors="replace")
    begin = document.find("<svg")
    return f'<div class="diagram">{document[begin:]}</div>' if begin >= 0 else ""
