"""Pieces of SVG that the built-in layouts put together."""

from __future__ import annotations

import html
from collections.abc import Sequence

from mlograph.diagrams.drawing import Drawing, Edge, Key, Node
from mlograph.diagrams.palette import FACES, INK, LINES, PAPER, SOFT

FONT = "Arial, Helvetica, sans-serif"
LINE = 16.0
PADDING = 12.0
_HEADER = 26.0
_LID = 6.0
_NARROW = frozenset("fijlrtI.,:;|!'()[] ")
BOLD = ' font-weight="bold"'
BADGE = ' font-style="italic" text-anchor="end"'
# A rim in the colour of the page keeps a label readable where it crosses an edge.
HALO = f' stroke="{PAPER}" stroke-width="4" paint-order="stroke"'
_WIDE = frozenset("mwMW@%≈")


def text_width(text: str, size: float = 12.0, bold: bool = False) -> float:
    """About how wide a text will be; fonts differ, so it leans to the wide side."""
    units = sum(0.34 if c in _NARROW else 0.9 if c in _WIDE else 0.6 for c in text)
    return units * size * (1.08 if bold else 1.0)


def card_size(node: Node) -> tuple[float, float]:
    """Width and height of a node."""
    title = text_width(node.title, 15, bold=True) + 14 + text_width(node.badge, 11)
    width = max([title, *map(text_width, node.lines)]) + 2 * PADDING
    # A cylinder's lid takes room above the text.
    height = _HEADER + LINE * len(node.lines) + PADDING + (10 if node.kind == "env" else 0)
    return width, height


def card(node: Node, left: float, top: float) -> str:
    """A node as SVG, its upper left corner given."""
    width, height = card_size(node)
    face = FACES[node.kind]
    paint = f'fill="{face.fill}" stroke="{face.border}" stroke-width="{face.width:g}"'
    if node.kind == "env":
        outline = _cylinder(left, top, width, height, paint)
        top += 10
    else:
        outline = (
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
            f'rx="10" {paint}/>'
        )
    parts = [
        outline,
        text(node.title, left + PADDING, top + 20, size=15, style=BOLD),
        text(node.badge, left + width - PADDING, top + 19, size=11, colour=SOFT, style=BADGE),
    ]
    for index, line in enumerate(node.lines):
        parts.append(text(line, left + PADDING, top + _HEADER + 12 + index * LINE))
    return f'<g class="node {node.kind}">{"".join(parts)}</g>'


def _cylinder(left: float, top: float, width: float, height: float, paint: str) -> str:
    round_ = f"A{width / 2:.1f},{_LID:g} 0 0"
    start, end = f"{left:.1f},{top + _LID:.1f}", f"{left + width:.1f},{top + _LID:.1f}"
    bottom = top + height - _LID
    return (
        f'<path d="M{start} {round_} 1 {end} V{bottom:.1f} {round_} 1 {left:.1f},{bottom:.1f} Z" '
        f'{paint}/><path d="M{start} {round_} 0 {end} {round_} 0 {start}" {paint}/>'
    )


def text(
    words: str, x: float, y: float, *, size: float = 12, colour: str = INK, style: str = ""
) -> str:
    """One line of text; `style` is `BOLD`, `BADGE`, `HALO` or nothing."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size:g}" fill="{colour}"{style}>'
        f"{html.escape(words)}</text>"
    )


def curve(edge: Edge, path: str) -> str:
    """An edge as SVG along a path that runs from its source to its target."""
    return f'<path class="edge {edge.kind}" fill="none" {_stroke(edge)} d="{path}"/>'


def _stroke(edge: Edge | Key) -> str:
    line = LINES[edge.kind]
    dash = f' stroke-dasharray="{line.dashes}" stroke-linecap="round"' if line.dashes else ""
    return (
        f'stroke="{line.colour}" stroke-width="{line.width:g}"{dash} '
        f'marker-end="url(#head-{edge.kind})"'
    )


def legend(drawing: Drawing, left: float, top: float) -> tuple[str, float, float]:
    """The legend and the notes as SVG, with their width and height."""
    parts, widths = [], [0.0]
    for index, key in enumerate(drawing.legend):
        y = top + index * 20
        parts.append(f'<path fill="none" {_stroke(key)} d="M{left:.1f},{y:.1f} h38"/>')
        parts.append(text(key.text, left + 54, y + 4, colour=SOFT))
        widths.append(54 + text_width(key.text))
    for index, note in enumerate(drawing.notes, start=len(drawing.legend)):
        parts.append(text(note, left, top + index * 20 + 4, colour=SOFT))
        widths.append(text_width(note))
    return "".join(parts), max(widths), 20.0 * (len(drawing.legend) + len(drawing.notes))


def heading(drawing: Drawing, left: float, top: float) -> tuple[str, float, float]:
    """Title and description as SVG, with their width and height."""
    parts, height = [], 0.0
    if drawing.title:
        height += 18
        parts.append(text(drawing.title, left, top + height, size=18, style=BOLD))
    if drawing.description:
        height += 20
        parts.append(text(drawing.description, left, top + height, colour=SOFT))
    width = max(text_width(drawing.title, 18, bold=True), text_width(drawing.description))
    return "".join(parts), width, height + 22 if parts else 0.0


def page(drawing: Drawing, body: Sequence[str], width: float, height: float) -> bytes:
    """A whole SVG document."""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<svg xmlns="http://www.w3.org/2000/svg" '
        f'role="img" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="{FONT}">\n'
        f"<title>{html.escape(drawing.title)}</title>\n{_HEADS}\n"
        f'<rect width="100%" height="100%" fill="{PAPER}"/>\n' + "\n".join(body) + "\n</svg>\n"
    ).encode()


def _head(kind: str, shape: str) -> str:
    return (
        f'<marker id="head-{kind}" viewBox="0 0 12 12" refX="10" refY="6" markerWidth="11" '
        f'markerHeight="11" markerUnits="userSpaceOnUse" orient="auto">{shape}</marker>'
    )


_HEADS = (
    "<defs>"
    + _head("u2l", f'<path d="M0,1 L11,6 L0,11 Z" fill="{LINES["u2l"].colour}"/>')
    + _head(
        "l2u",
        f'<path d="M1,1 L10,6 L1,11" fill="none" stroke-width="1.8" '
        f'stroke="{LINES["l2u"].colour}"/>',
    )
    + _head("data", f'<circle cx="8" cy="6" r="3" fill="{LINES["data"].colour}"/>')
    + "</defs>"
)
