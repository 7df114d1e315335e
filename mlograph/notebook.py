"""What was measured, for people at a notebook: curves on the page, figures and tables."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from math import ceil
from typing import Any

from mlograph import charts
from mlograph.charts import Series, gather
from mlograph.charts.figures import curve_figure, figure, figures
from mlograph.errors import UsageError, did_you_mean
from mlograph.loggers.extras import required
from mlograph.loggers.lines import duration
from mlograph.loggers.protocol import Record
from mlograph.pictures import Picture
from mlograph.terminal import printable
from mlograph.wording import clipped

_EXTRA = "notebook"
_MOST_CURVES = 24
# matplotlib cannot draw an axis of all floats.
_FARTHEST = 1e300


def as_html(
    title: str,
    ended: str,
    seconds: float,
    records: Sequence[Record],
    pictures: Sequence[Picture] = (),
) -> str:
    """The curves of a run as HTML that needs nothing else and changes nothing around it."""
    found = curves(records)
    parts = [curve_figure(name, series) for name, series in list(found.items())[:_MOST_CURVES]]
    parts += [figure(one.title, (), charts.draw(one)) for one in pictures]
    more = len(found) - _MOST_CURVES
    note = f"<p>… and {more:,} more in <code>records</code></p>" if more > 0 else ""
    return printable(
        f'<div class="mlograph">\n<style>\n{charts.style()}</style>\n'
        f"<p><b>{escape(title)}</b>: {escape(ended)}, {duration(seconds)}</p>\n"
        f"{figures(parts)}{note}</div>"
    )


def plot(records: Sequence[Record], names: Sequence[str] = ()) -> Any:
    """A matplotlib figure with one panel a name.

    Args:
        records: of a run.
        names: such as `outer.loss` or `validation.accuracy`; by default whatever changed.

    Raises:
        UsageError: there is no such name, nothing was measured, or matplotlib is not installed.
    """
    pyplot = required("matplotlib.pyplot", _EXTRA)
    every = curves(records, constant=True)
    unknown = next((name for name in names if name not in every), None)
    if unknown is not None:
        raise UsageError(f"'{unknown}' was not measured ({did_you_mean(unknown, every)})")
    chosen = [every[name] for name in names] or list(curves(records).values()) or [*every.values()]
    if not chosen:
        raise UsageError("nothing was measured yet")
    columns = min(3, len(chosen))
    rows = ceil(len(chosen) / columns)
    drawn, axes = pyplot.subplots(
        rows, columns, figsize=(4.2 * columns, 2.8 * rows), squeeze=False, layout="constrained"
    )
    # A notebook shows what a cell returns; a figure that is still open it would show again.
    pyplot.close(drawn)
    for axis, series in zip(axes.flat, chosen, strict=False):
        steps = [step for step, _ in series.points]
        values = [min(max(value, -_FARTHEST), _FARTHEST) for _, value in series.points]
        axis.plot(steps, values, color="#0072b2", marker="" if len(steps) > 1 else "o")
        if values and min(values) > 0 and max(values) > 1000 * min(values):
            axis.set_yscale("log")
        axis.set_xlabel("updates")
        axis.set_title(clipped(series.name), parse_math=False)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(chosen) :]:
        axis.set_visible(False)
    return drawn


def to_pandas(records: Sequence[Record]) -> Any:
    """A DataFrame with a row for each record and a column for each name.

    The columns `kind`, `step`, `seconds` and `text` come first; a value that is itself named like
    one of these is in `values.NAME`. What a record does not tell is NaN.

    Raises:
        UsageError: pandas is not installed.
    """
    pandas = required("pandas", _EXTRA)
    own = ("kind", "step", "seconds", "text")
    rows = [
        {"kind": record.kind, "step": record.step, "seconds": record.seconds, "text": record.text}
        | {f"values.{n}" if n in own else n: float(v) for n, v in record.values.items()}
        for record in records
    ]
    names = dict.fromkeys((*own, *(name for row in rows for name in row)))
    return pandas.DataFrame(rows, columns=list(names))


def curves(records: Sequence[Record], *, constant: bool = False) -> dict[str, Series]:
    """Validation first, as `validation.NAME`, then training; without what never changes."""
    found = {f"validation.{one.name}": one for one in gather(records, "validation")}
    found |= {one.name: one for one in gather(records, "train")}
    named = {name: Series(name, one.points, one.broken) for name, one in found.items()}
    return {
        name: one
        for name, one in named.items()
        if constant or (len(one.points) + len(one.broken) > 1 and not one.is_constant)
    }
