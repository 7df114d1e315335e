"""What was learned, drawn: bars, histograms, functions, small matrices and images."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from html import escape
from itertools import pairwise

from mlograph.charts.axis import Axis, linear
from mlograph.charts.chart import COLOURS, HEIGHT, WIDTH, axes, classes, frame, key
from mlograph.loggers.lines import short
from mlograph.pictures import Bars, Grid, Images, Lines, Picture, Spread

_CELL = 36
_READABLE = 16
# Bars that are named and bear their values; as wide as this at most.
_FEW, _WIDEST = 8, 64.0


def draw(picture: Picture) -> str:
    """A picture as HTML: an `<svg>` element or a few images, and a legend where it needs one."""
    match picture:
        case Bars():
            return _svg("chart", picture.title, WIDTH, HEIGHT, _bars(picture))
        case Spread():
            drawn = _svg("chart", picture.title, WIDTH, HEIGHT, _spread(picture))
            return drawn + legend(list(picture.counts))
        case Lines():
            drawn = _svg("chart", picture.title, WIDTH, HEIGHT, _lines(picture))
            return drawn + legend(list(picture.lines))
        case Grid():
            width, height = _grid_size(picture)
            return _svg("grid", picture.title, width, height, _grid(picture))
        case Images():
            return _images(picture)


def legend(labels: list[str]) -> str:
    """What each colour and dash stands for; nothing where there is one line only."""
    if len(labels) < 2:
        return ""
    items = (f"<span>{key(style)}{escape(label)}</span>" for style, label in enumerate(labels))
    return f'<div class="legend">{"".join(items)}</div>'


def _svg(kind: str, title: str, width: int, height: int, parts: Iterator[str]) -> str:
    inside = "\n".join(parts)
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" role="img" '
        f'aria-label="{escape(title)}">\n{inside}\n</svg>\n'
    )


def _bars(picture: Bars) -> Iterator[str]:
    left, right, top, bottom = frame()
    count = len(picture.values)
    few, labelled = count <= _FEW, len(picture.labels) == count
    bounds = [0.0, *filter(math.isfinite, picture.values)]
    low, high = min(bounds), max(bounds)
    if few and low < 0:
        # Room for the number below the lowest bar.
        low = max(low - (0.12 * high - 0.12 * low), -sys.float_info.max)
    up = linear([low, high], bottom, top)
    ticks = () if few else linear([0, max(1, count - 1)], left, right).ticks
    across = Axis(-0.5, count - 0.5, left, right, ticks)
    yield from axes(across, up, "" if few and labelled else "index")
    names = picture.labels if labelled else tuple(map(str, range(count)))
    zero, step = up.at(0.0), (right - left) / count
    width = min(_WIDEST, step - (1 if step > 4 else 0))
    for index, (name, value) in enumerate(zip(names, picture.values, strict=True)):
        x = across.at(index)
        if few:
            yield _text(x, bottom + 17, name if len(name) < 16 else f"{name[:14]}…")
        if math.isfinite(value):
            y, height = min(up.at(value), zero), abs(up.at(value) - zero)
            yield (
                f'<rect class="bar c0" x="{x - width / 2:.2f}" y="{y:.1f}" '
                f'width="{width:.2f}" height="{max(height, 0.7):.1f}">'
                f"<title>{escape(name)}: {short(value)}</title></rect>"
            )
            if few:
                yield _text(x, y - 5 if value >= 0 else y + height + 12, short(value))


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="middle">{escape(text)}</text>'


def _spread(picture: Spread) -> Iterator[str]:
    """Each group's share in every bin, so that groups of different sizes can be compared."""
    left, right, top, bottom = frame()
    bins = list(pairwise(picture.edges))
    shares = {
        name: [count / max(1, sum(counts)) for count in counts]
        for name, counts in picture.counts.items()
    }
    across = linear(list(picture.edges), left, right)
    most = max((share for group in shares.values() for share in group), default=0.0)
    up = linear([0.0, most or 1.0], bottom, top)
    yield from axes(across, up, picture.unit)
    yield f'<text class="unit" x="{left - 6}" y="{top - 9}" text-anchor="end">share</text>'
    for style, (name, group) in enumerate(shares.items()):
        places = [f"{across.at(bins[0][0]):.1f},{bottom}"]
        for (low, high), share in zip(bins, group, strict=False):
            y = up.at(share)
            places += [f"{across.at(low):.1f},{y:.1f}", f"{across.at(high):.1f},{y:.1f}"]
        places.append(f"{across.at(bins[-1][1]):.1f},{bottom}")
        outline = " ".join(places)
        yield f'<polygon class="band c{style % COLOURS}" points="{outline}"/>'
        yield (
            f'<polyline {classes(style)} points="{outline}">'
            f"<title>{escape(name)}: {sum(picture.counts[name]):,} values</title></polyline>"
        )


def _lines(picture: Lines) -> Iterator[str]:
    left, right, top, bottom = frame()
    finite = {
        name: [(x, y) for x, y in points if math.isfinite(x) and math.isfinite(y)]
        for name, points in picture.lines.items()
    }
    everything = [point for points in finite.values() for point in points] or [(0.0, 0.0)]
    across = linear([x for x, _ in everything], left, right)
    up = linear([y for _, y in everything], bottom, top)
    yield from axes(across, up, picture.across)
    for style, (name, points) in enumerate(finite.items()):
        line = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in points)
        title = f"<title>{escape(name)}</title>"
        yield f'<polyline {classes(style)} points="{line}">{title}</polyline>'


def _margin(picture: Grid) -> int:
    return 90 if picture.rows else 22


def _grid_size(picture: Grid) -> tuple[int, int]:
    columns = max(map(len, picture.values))
    return max(200, _margin(picture) + _CELL * columns), 24 + _CELL * len(picture.values)


def _grid(picture: Grid) -> Iterator[str]:
    """Blue above zero and orange below; the deeper, the larger."""
    margin = _margin(picture)
    finite = [abs(v) for row in picture.values for v in row if math.isfinite(v)]
    most = max(finite, default=0.0) or 1.0
    for column in range(max(map(len, picture.values))):
        name = _named(picture.columns, column)
        yield _text(margin + _CELL * (column + 0.5), 14, name[:4])
    for index, row in enumerate(picture.values):
        y, name = 20 + _CELL * index, _named(picture.rows, index)
        yield (f'<text x="{margin - 6}" y="{y + 22}" text-anchor="end">{escape(name[:14])}</text>')
        for column, value in enumerate(row):
            where = _named(picture.columns, column)
            title = f"<title>{escape(name)}, {escape(where)}: {short(value)}</title>"
            depth = 0.75 * abs(value) / most if math.isfinite(value) else 0.0
            yield (
                f'<rect class="cell {"c1" if value < 0 else "c0"}" x="{margin + _CELL * column}" '
                f'y="{y}" width="{_CELL - 1}" height="{_CELL - 1}" '
                f'fill-opacity="{depth:.3f}">{title}</rect>'
            )
            if len(row) <= _READABLE:
                x = margin + _CELL * column + _CELL / 2
                yield (
                    f'<text class="value" x="{x}" y="{y + 22}" text-anchor="middle">'
                    f"{value:.2g}</text>"
                )


def _named(names: tuple[str, ...], index: int) -> str:
    return names[index] if index < len(names) else str(index)


def _images(picture: Images) -> str:
    parts = []
    for index, image in enumerate(picture.images):
        text = picture.captions[index] if index < len(picture.captions) else str(index)
        parts.append(
            f'<img src="data:image/png;base64,{escape(image)}" alt="{escape(text)}" '
            f'title="{escape(text)}">'
        )
    return f'<div class="images">{"".join(parts)}</div>'
