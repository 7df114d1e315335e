"""One curve as SVG: axes, ticks, the least and the greatest value, and a title on each point."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape

from mlograph.loggers.lines import short
from mlograph.report.axis import Axis, fitting, linear, tick_text
from mlograph.report.series import Point, Series, thin

WIDTH, HEIGHT = 380, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 26
_MOST_POINTS = 240


def chart(series: Series, levels: Mapping[str, float] | None = None) -> str:
    """The curve of one name over steps, as an `<svg>` element.

    Args:
        series: what to draw; values that are not finite are marked at the upper edge.
        levels: horizontal lines with their names, such as baselines.
    """
    levels = levels or {}
    steps = [step for step, _ in (*series.points, *series.broken)]
    values = [*(value for _, value in series.points), *levels.values()]
    across = linear(steps or [0], _LEFT, WIDTH - _RIGHT)
    up = fitting(values or [0.0], HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        f'aria-label="{escape(series.name)} over steps">',
        *_axes(across, up),
        *_levels(levels, up),
        *_curve(thin(series.points, _MOST_POINTS), across, up),
        *_extremes(series.points, across, up),
        *_broken(thin(series.broken, 20), across),
        "</svg>",
    ]
    return "\n".join(parts)


def _axes(across: Axis, up: Axis) -> Iterator[str]:
    bottom = HEIGHT - _BOTTOM
    for tick in up.ticks:
        y = up.at(tick)
        yield f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 3.5:.1f}" text-anchor="end">{tick_text(tick)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}"/>'
    for tick in across.ticks:
        if tick == int(tick):
            x = across.at(tick)
            yield f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{bottom}" y2="{bottom + 4}"/>'
            yield (
                f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{tick_text(tick)}</text>'
            )


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


def _curve(points: tuple[Point, ...], across: Axis, up: Axis) -> Iterator[str]:
    places = [(across.at(step), up.at(value)) for step, value in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    yield f'<polyline class="curve" points="{line}"/>'
    for (step, value), (x, y) in zip(points, places, strict=True):
        yield (
            f'<circle class="hit" cx="{x:.1f}" cy="{y:.1f}" r="4">'
            f"<title>step {step}: {short(value)}</title></circle>"
        )


def _extremes(points: tuple[Point, ...], across: Axis, up: Axis) -> Iterator[str]:
    if not points:
        return
    least = min(points, key=lambda point: point[1])
    most = max(points, key=lambda point: point[1])
    for word, (step, value) in {"min": least, "max": most}.items():
        x, y = across.at(step), up.at(value)
        title = f"<title>{word} {short(value)} at step {step}</title>"
        yield f'<circle class="extreme" cx="{x:.1f}" cy="{y:.1f}" r="3">{title}</circle>'


def _broken(points: tuple[Point, ...], across: Axis) -> Iterator[str]:
    for step, value in points:
        x = across.at(step)
        yield (
            f'<path class="broken" d="M{x - 4:.1f} {_TOP - 8}h8l-4 7z">'
            f"<title>step {step}: {value}</title></path>"
        )
