"""The built-in picture of a graph too large for cards: a line a node, its edges in words."""

from __future__ import annotations

from mlograph.diagrams import shapes
from mlograph.diagrams.drawing import Drawing, Edge, Node
from mlograph.diagrams.palette import FACES, LINES, SOFT

_MARGIN = 24.0
_ROW = 20.0
_MOST_EDGES = 12


def listing_svg(drawing: Drawing) -> bytes:
    """The whole drawing as SVG, nodes from the uppermost level down."""
    head, width, top = shapes.heading(drawing, _MARGIN, _MARGIN)
    y = _MARGIN + top + _ROW
    incoming: dict[str, list[Edge]] = {node.name: [] for node in drawing.nodes}
    for edge in drawing.edges:
        incoming[edge.target].append(edge)
    body = [head]
    for node in sorted(drawing.nodes, key=lambda node: node.level):
        row, extent = _row(node, incoming[node.name], y)
        body.append(row)
        width, y = max(width, extent), y + _ROW
    legend, legend_width, height = shapes.legend(drawing, _MARGIN, y + 10)
    width = max(width, legend_width)
    return shapes.page(drawing, [*body, legend], width + 2 * _MARGIN, y + height + 2 * _MARGIN)


def _row(node: Node, edges: list[Edge], y: float) -> tuple[str, float]:
    face = FACES[node.kind]
    x = _MARGIN + 18.0 * min(node.level, 20)
    parts = [
        f'<rect x="{x:.1f}" y="{y - 10:.1f}" width="11" height="11" rx="3" fill="{face.fill}" '
        f'stroke="{face.border}"/>'
    ]
    x += 18
    parts.append(shapes.text(node.title, x, y, style=shapes.BOLD))
    x += shapes.text_width(node.title, bold=True) + 14
    pieces = [("; ".join((node.badge, *node.lines)), SOFT)]
    pieces += [
        (f"{edge.kind} from {edge.source}", LINES[edge.kind].colour) for edge in edges[:_MOST_EDGES]
    ]
    if len(edges) > _MOST_EDGES:
        pieces.append((f"and {len(edges) - _MOST_EDGES} more", SOFT))
    for words, colour in pieces:
        parts.append(shapes.text(words, x, y, colour=colour))
        x += shapes.text_width(words) + 14
    return f'<g class="node {node.kind}">{"".join(parts)}</g>', x
