"""Curves over steps as SVG: axes with round ticks, a legend by colour and dash, values on hover."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from mlograph.charts.axis import Axis, fitting, linear, tick_text
from mlograph.charts.series import MOST_STRETCHES, Point, Series, Stretch, joined
from mlograph.loggers.lines import short

WIDTH, HEIGHT = 400, 230
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 20, 40
_MOST_HITS = 160
_MOST_BROKEN = 20
# More of them hide one another.
_MOST_BANDS = 3
COLOURS = 8
_DASHES = ("", "7 3", "2 3")

# As many curves as can be told apart.
DISTINCT = COLOURS * len(_DASHES)


@dataclass(frozen=True)
class Curve:
    """One line of a chart.

    Attributes:
        series: what to draw; values that are not finite are marked at the upper edge.
        label: what is said of it on hover; may be empty.
        style: which colour and dash, from 0 to `DISTINCT` − 1.
    """

    series: Series
    label: str = ""
    style: int = 0


def chart(series: Series, levels: Mapping[str, float] | None = None) -> str:
    """The curve of one name over steps, as an `<svg>` element.

    Args:
        series: what to draw.
        levels: horizontal lines with their names, such as baselines.
    """
    return overlay(series.name, [Curve(series)], levels)


def overlay(name: str, curves: Sequence[Curve], levels: Mapping[str, float] | None = None) -> str:
    """Several curves in one `<svg>` element, whose size is bounded whatever was logged."""
    levels = levels or {}
    whole = [one for curve in curves for one in curve.series.stretches]
    broken = [point for curve in curves for point in curve.series.broken]
    steps = [step for one in whole for step in (one.first, one.last)]
    across = linear([*steps, *(step for step, _ in broken)] or [0], _LEFT, WIDTH - _RIGHT)
    values = [value for one in whole for value in (one.low, one.high)]
    up = fitting([*values, *levels.values()] or [0.0], HEIGHT - _BOTTOM, _TOP)
    stretches = max(12, MOST_STRETCHES // max(1, len(curves) // 4))
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(name)} over updates">',
        *axes(across, up, "updates"),
        *_levels(levels, up),
        *(
            part
            for one in curves
            for part in _curve(one, stretches, across, up, band=len(curves) <= _MOST_BANDS)
        ),
        *_hits(curves, stretches, across, up),
        *_broken(broken[:: max(1, len(broken) // _MOST_BROKEN)], across),
        "</svg>",
    ]
    return "\n".join(parts)


def frame() -> tuple[float, float, float, float]:
    """Left, right, top and bottom of the part of a drawing between its axes."""
    return _LEFT, WIDTH - _RIGHT, _TOP, HEIGHT - _BOTTOM


def key(style: int | None) -> str:
    """A piece of a line of this colour and dash, for a legend; nothing for None."""
    if style is None:
        return ""
    return (
        f'<svg class="key" viewBox="0 0 26 10"><line {classes(style)} '
        'x1="1" x2="25" y1="5" y2="5"/></svg>'
    )


def classes(style: int) -> str:
    """The attributes that give a line its colour and dash."""
    dash = _DASHES[style // COLOURS % len(_DASHES)]
    return f'class="curve c{style % COLOURS}"' + (f' stroke-dasharray="{dash}"' if dash else "")


def axes(across: Axis, up: Axis, unit: str) -> Iterator[str]:
    """The grid, both axes with their ticks, and what is counted below."""
    bottom = HEIGHT - _BOTTOM
    for tick in up.ticks:
        y = up.at(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick_text(tick)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    whole = unit == "updates"
    for tick in across.ticks:
        if tick == int(tick) or not whole:
            x = across.at(tick)
            yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            yield (
                f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{tick_text(tick)}</text>'
            )
    middle = (_LEFT + WIDTH - _RIGHT) / 2
    yield (
        f'<text class="unit" x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">'
        f"{escape(unit)}</text>"
    )
    if up.log:
        yield f'<text class="unit" x="{_LEFT - 6}" y="{_TOP - 9}" text-anchor="end">log</text>'


def _levels(levels: Mapping[str, float], up: Axis) -> Iterator[str]:
    for name, value in levels.items():
        y = up.at(value)
        title = f"<title>{escape(name)}: {short(value)}</title>"
        yield (
            f'<line class="level" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}">'
            f"{title}</line>"
        )
        yield (
            f'<text class="level" x="{WIDTH - _RIGHT}" y="{max(y - 4, 10):.1f}" '
            f'text-anchor="end">{escape(name)}</text>'
        )


def _curve(curve: Curve, most: int, across: Axis, up: Axis, *, band: bool) -> Iterator[str]:
    """The means as a line; behind it, if asked for, the least and greatest values as a band."""
    stretches = joined(curve.series.stretches, most)
    if band and any(one.count > 1 for one in stretches):
        above = [f"{across.at(one.step):.1f},{up.at(one.high):.1f}" for one in stretches]
        below = [f"{across.at(one.step):.1f},{up.at(one.low):.1f}" for one in reversed(stretches)]
        colour = f"c{curve.style % COLOURS}"
        yield f'<polygon class="band {colour}" points="{" ".join(above + below)}"/>'
    line = " ".join(f"{across.at(one.step):.1f},{up.at(one.mean):.1f}" for one in stretches)
    yield f'<polyline {classes(curve.style)} points="{line}"/>'
    if len(stretches) == 1:
        (one,) = stretches
        place = f'cx="{across.at(one.step):.1f}" cy="{up.at(one.mean):.1f}"'
        yield f'<circle class="dot c{curve.style % COLOURS}" {place} r="3"/>'


def _hits(curves: Sequence[Curve], most: int, across: Axis, up: Axis) -> Iterator[str]:
    """Circles that are seen when the pointer is over them, and tell their values."""
    each = max(4, _MOST_HITS // max(1, len(curves)))
    for curve in curves:
        stretches = joined(curve.series.stretches, most)
        stride = max(1, -(-len(stretches) // each))
        for one in (*stretches[::stride], *stretches[-1:]):
            place = f'cx="{across.at(one.step):.1f}" cy="{up.at(one.mean):.1f}"'
            title = f"<title>{escape(_told(curve.label, one))}</title>"
            yield f'<circle class="hit c{curve.style % COLOURS}" {place} r="4">{title}</circle>'


def _told(label: str, one: Stretch) -> str:
    begin = f"{label}, " if label else ""
    if one.first == one.last:
        return f"{begin}step {one.first:,}: {short(one.mean)}"
    values = f"mean {short(one.mean)}, from {short(one.low)} to {short(one.high)}"
    return f"{begin}steps {one.first:,} to {one.last:,}: {values}"


def _broken(points: Sequence[Point], across: Axis) -> Iterator[str]:
    for step, value in points:
        x = across.at(step)
        yield (
            f'<path class="broken" d="M{x - 4:.1f} {_TOP - 10}h8l-4 7z">'
            f"<title>step {step:,}: {value}</title></path>"
        )
