"""The page that compares runs: final numbers, the settings that differ, and overlaid curves."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

from mlograph.averages import mean_and_deviation
from mlograph.charts import DISTINCT, Curve, Series, gather, key, overlay
from mlograph.charts.figures import figure, figures, importance, meaning
from mlograph.loggers.lines import duration, short
from mlograph.report.grouping import MOST_COLUMNS, MOST_DIFFERENCES, Grouping, cut
from mlograph.report.html import document, section, table
from mlograph.report.page import by_problem
from mlograph.report.reading import Run, read

_MOST_CURVES = 120
_LONGEST_END = 200


def compare(
    runs: Sequence[Path | Run],
    folder: Path | None = None,
    title: str = "",
    command: str = "",
    notes: Iterable[str] = (),
) -> str:
    """The page as text; all that comes from the runs is escaped.

    Runs that differ in nothing but `engine.seed` share a colour and a line in the legend, and the
    mean and the standard deviation of their final numbers are given.

    Args:
        runs: their directories, or what was read of these.
        folder: where the page will be: the names of the runs lead to their own pages.
        title: of the page.
        command: that writes the page again; may be empty.
        notes: what else shall be said of them, a line each.

    Raises:
        UsageError: one of these is no directory of a run.
    """
    seen = Grouping(tuple(one if isinstance(one, Run) else read(one) for one in runs))
    heading = title or f"{len(runs)} runs"
    sections = [
        _head(seen, heading, command, notes),
        section("Seeds taken together", _groups_table(seen)),
        section("Runs", _runs_table(seen, folder)),
        section("Further settings that differ", _further_settings(seen)),
        _legend(seen),
        section("Validation", figures(list(_charts(seen, "validation")))),
        *(section(problem or "Other", charts) for problem, charts in _problem_charts(seen)),
    ]
    return document(heading, sections)


def _head(seen: Grouping, heading: str, command: str, notes: Iterable[str]) -> str:
    words = f'<pre class="command">{escape(command)}</pre>' if command else ""
    remarks = "".join(f"<li>{escape(remark)}</li>" for remark in (*notes, *_remarks(seen)))
    return (
        f"<header>\n<h1>{escape(heading)}</h1>\n<p>{escape(_summary(seen))}</p>\n{words}\n"
        + (f'<ul class="remarks">{remarks}</ul>\n' if remarks else "")
        + "</header>"
    )


def _summary(seen: Grouping) -> str:
    """How many runs of what, and how many came to their end."""
    names = ", ".join(dict.fromkeys(run.report.name for run in seen.runs))
    ended = sum(run.report.finished for run in seen.runs)
    return f"{names}: {len(seen.runs)} runs, {ended} of them finished"


def _remarks(seen: Grouping) -> Iterator[str]:
    """What is missing."""
    for run in seen.runs:
        for remark in run.report.remarks:
            yield f"{run.path.name}: {remark}"
    if len(seen.groups) > DISTINCT:
        more = len(seen.groups) - DISTINCT
        yield f"{more} of {len(seen.groups)} settings are in the table only, not in the curves"


def _groups_table(seen: Grouping) -> str:
    """Mean and standard deviation over seeds; nothing where each setting has one run."""
    if all(len(members) < 2 for members in seen.groups.values()):
        return ""
    rows, finals = [], seen.finals
    for label, members in seen.groups.items():
        style = seen.styles.get(members[0])
        known = [[finals[i][n] for i in members if n in finals[i]] for n in seen.metrics]
        cells = list(map(mean_and_deviation, known))
        measured = sum(bool(finals[i]) for i in members)
        count = str(measured) if measured == len(members) else f"{measured} of {len(members)}"
        rows.append([f"{key(style)}{escape(label)}", count, *cells])
    return table(["", "runs", *(escape(cut(name)) for name in seen.metrics)], rows)


def _runs_table(seen: Grouping, folder: Path | None) -> str:
    """One row a run: settings that differ, final numbers, how far it came."""
    columns = list(seen.differing.items())[:MOST_COLUMNS]
    head = ["", *(f'<span title="{escape(n)}">{escape(brief)}</span>' for brief, n in columns)]
    head += ["seed", *(escape(cut(name)) for name in seen.metrics), "updates", "time"]
    head += ['<span class="words">ended</span>']
    rows = []
    for index, run in enumerate(seen.runs):
        report, final = run.report, seen.finals[index]
        cells = [f"{key(seen.styles.get(index))}{_linked(run, folder)}"]
        cells += [escape(cut(run.others.get(name, "–"))) for _, name in columns]
        cells += [escape(run.seed)]
        cells += [short(final[n]) if n in final else "–" for n in seen.metrics]
        cells += [f"{report.steps:,}", duration(report.seconds)]
        state = "good" if report.finished else "bad"
        cells += [f'<span class="{state}">{escape(cut(report.ended, _LONGEST_END))}</span>']
        rows.append(cells)
    return table(head, rows)


def _further_settings(seen: Grouping) -> str:
    """The settings that differ and found no room beside the final numbers."""
    names = list(seen.differing.values())[MOST_COLUMNS:]
    shown = list(seen.runs)[:DISTINCT]
    rows = [
        [escape(name), *(escape(cut(run.others.get(name, "–"))) for run in shown)]
        for name in names[:MOST_DIFFERENCES]
    ]
    if not rows:
        return ""
    more = len(names) - len(rows)
    note = f'<p class="still">… and {more:,} more</p>' if more > 0 else ""
    return table(["", *(escape(run.path.name) for run in shown)], rows) + note


def _legend(seen: Grouping) -> str:
    """What the colours and dashes of all curves stand for."""
    items = [
        f"<span>{key(style)}{escape(label)}</span>"
        for style, label in enumerate(list(seen.groups)[:DISTINCT])
    ]
    return f'<div class="legend sticky">{"".join(items)}</div>'


def _charts(seen: Grouping, kind: str) -> Iterator[str]:
    """The overlaid curves of everything that was measured of a kind."""
    for name, curves in _overlaid(seen, kind).items():
        yield figure(name, _facts(curves), overlay(name, curves))


def _problem_charts(seen: Grouping) -> Iterator[tuple[str, str]]:
    """Each problem's name and its overlaid curves."""
    problems = tuple(dict.fromkeys(p for run in seen.runs for p in run.report.problems))
    uppers = {name for run in seen.runs for name in run.report.uppers}
    overlaid = _overlaid(seen, "train")
    found = by_problem(tuple(Series(name, ()) for name in overlaid), problems)
    for problem, names in found.items():
        parts = []
        for name, series in names.items():
            curves = overlaid[series.name]
            about = meaning(name, upper=problem in uppers)
            parts.append(figure(name, _facts(curves), overlay(series.name, curves), about))
        yield problem, figures(parts)


def _overlaid(seen: Grouping, kind: str) -> dict[str, list[Curve]]:
    """Curves by name; those that stand still in all runs at one value are left out."""
    found: dict[str, list[Curve]] = {}
    labels = {i: label for label, members in seen.groups.items() for i in members}
    for index, style in sorted(seen.styles.items()):
        for series in gather(seen.runs[index].report.records, kind):
            seed = f" (seed {seen.runs[index].seed})"
            found.setdefault(series.name, []).append(Curve(series, labels[index] + seed, style))
    moving = (
        (name, curves)
        for name, curves in found.items()
        if _moves([curve.series for curve in curves])
    )
    ranked = sorted(moving, key=lambda one: importance(one[0].rpartition(".")[2]))
    return dict(ranked[:_MOST_CURVES])


def _moves(found: Sequence[Series]) -> bool:
    """Whether there are two different values in them."""
    ends = {point[1] for one in found if one.points for point in (one.low, one.high)}
    return len(ends) > 1


def _facts(curves: Sequence[Curve]) -> list[str]:
    lasts = [curve.series.points[-1][1] for curve in curves if curve.series.points]
    broken = sum(len(curve.series.broken) for curve in curves)
    facts = [f"last {short(min(lasts))} to {short(max(lasts))}"] if lasts else []
    return [*facts, f'<span class="bad">{broken:,} not finite</span>'] if broken else facts


def _linked(run: Run, folder: Path | None) -> str:
    """A run's name, leading to its own page where that is below or beside this one."""
    name = escape(run.path.name)
    target = run.path / "report.html"
    if folder is None or not target.is_file():
        return name
    try:
        where = os.path.relpath(target.resolve(), folder.resolve()).replace(os.sep, "/")
    except ValueError:
        return name
    return f'<a href="{escape(quote(where))}">{name}</a>'
