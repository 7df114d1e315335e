"""The built-in picture of a graph of up to some fifty nodes: rows of cards, curved edges."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mlograph.diagrams import shapes
from mlograph.diagrams.drawing import Drawing, Edge
from mlograph.diagrams.layers import Item, Layers, arrange
from mlograph.diagrams.palette import LINES

_MARGIN = 24.0
_BETWEEN_ROWS = 84.0
_GAP = 48.0
_KINDS = {"u2l": 0, "l2u": 1, "data": 2}

Point = tuple[float, float]


@dataclass(frozen=True)
class _Canvas:
    """A drawing whose cards have their places."""

    drawing: Drawing
    layers: Layers
    tops: tuple[float, ...]
    heights: tuple[float, ...]
    left: float

    def x(self, item: Item) -> float:
        return self.left + self.layers.centres[item]


def layered_svg(drawing: Drawing) -> bytes:
    """The whole drawing as SVG."""
    head, head_width, head_height = shapes.heading(drawing, _MARGIN, _MARGIN)
    sizes = {node.name: shapes.card_size(node) for node in drawing.nodes}
    layers = arrange(
        {node.name: node.level for node in drawing.nodes},
        {name: size[0] for name, size in sizes.items()},
        [(edge.upper, edge.lower) for edge in drawing.edges],
        _GAP,
    )
    heights = [
        max((sizes[x][1] for x in row if isinstance(x, str)), default=0) for row in layers.rows
    ]
    tops, y = [], _MARGIN + head_height
    for height in heights:
        tops.append(y)
        y += height + _BETWEEN_ROWS
    y += 30 - _BETWEEN_ROWS
    legend, legend_width, legend_height = shapes.legend(drawing, _MARGIN, y)
    extent = max(
        layers.centres[item] + (sizes[item][0] / 2 if isinstance(item, str) else 0)
        for row in layers.rows
        for item in row
    ) + _label_overhang(drawing)
    width = max(head_width, legend_width, extent)
    canvas = _Canvas(drawing, layers, tuple(tops), tuple(heights), _MARGIN + (width - extent) / 2)
    cards = [
        shapes.card(node, canvas.x(node.name) - sizes[node.name][0] / 2, tops[node.level])
        for node in drawing.nodes
    ]
    body = [head, *_edges(canvas, sizes), *cards, *_labels(canvas, sizes), legend]
    return shapes.page(drawing, body, width + 2 * _MARGIN, y + legend_height + _MARGIN / 2)


def _label_overhang(drawing: Drawing) -> float:
    """Room for labels that stand to the right of the rightmost edge."""
    return max((shapes.text_width(edge.label) / 2 for edge in drawing.edges), default=0.0)


def _edges(canvas: _Canvas, sizes: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    for edge, points in _routes(canvas, sizes).items():
        upwards = edge.source == edge.lower
        yield shapes.curve(edge, _path(points[::-1] if upwards else points))


def _labels(canvas: _Canvas, sizes: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    """In the middle of the stretch that ends at the lower node, over everything else."""
    for edge, points in _routes(canvas, sizes).items():
        if edge.label:
            (x0, y0), (x1, y1) = points[-2:]
            yield shapes.text(
                edge.label,
                (x0 + x1) / 2 + 7,
                (y0 + y1) / 2 + 4,
                size=11,
                colour=LINES[edge.kind].colour,
                style=shapes.HALO,
            )


def _routes(
    canvas: _Canvas, sizes: Mapping[str, tuple[float, float]]
) -> dict[Edge, tuple[Point, ...]]:
    """From the upper end to the lower end of every edge, bends between."""
    leaving = _ports(canvas, sizes, upper=True)
    entering = _ports(canvas, sizes, upper=False)
    routes = {}
    levels = {node.name: node.level for node in canvas.drawing.nodes}
    for edge in canvas.drawing.edges:
        bends = canvas.layers.chain(edge.upper, edge.lower)[1:-1]
        start = (leaving[edge], canvas.tops[levels[edge.upper]] + sizes[edge.upper][1])
        points = [start]
        for row, bend in enumerate(bends, start=levels[edge.upper] + 1):
            x = canvas.x(bend) + 9 * (_KINDS[edge.kind] - 0.5)
            points += [(x, canvas.tops[row]), (x, canvas.tops[row] + canvas.heights[row])]
        points.append((entering[edge], canvas.tops[levels[edge.lower]]))
        routes[edge] = tuple(points)
    return routes


def _ports(
    canvas: _Canvas, sizes: Mapping[str, tuple[float, float]], *, upper: bool
) -> dict[Edge, float]:
    """Where edges touch a card, spread in the order of what they lead to.

    Both ends of a pair's two edges are ordered alike, so the two run side by side.
    """
    touching: dict[str, list[Edge]] = {}
    for edge in canvas.drawing.edges:
        touching.setdefault(edge.upper if upper else edge.lower, []).append(edge)
    ports = {}
    for name, edges in touching.items():

        def towards(edge: Edge) -> tuple[float, int]:
            chain = canvas.layers.chain(edge.upper, edge.lower)
            return canvas.x(chain[1] if upper else chain[-2]), _KINDS[edge.kind]

        step = min(34.0, 0.8 * sizes[name][0] / len(edges))
        first = canvas.x(name) - step * (len(edges) - 1) / 2
        for index, edge in enumerate(sorted(edges, key=towards)):
            ports[edge] = first + index * step
    return ports


def _path(points: tuple[Point, ...]) -> str:
    """A smooth curve that is vertical at every point."""
    text = "M{:.1f},{:.1f}".format(*points[0])
    for (x0, y0), (x1, y1) in itertools.pairwise(points):
        middle = (y0 + y1) / 2
        text += f" C{x0:.1f},{middle:.1f} {x1:.1f},{middle:.1f} {x1:.1f},{y1:.1f}"
    return text
