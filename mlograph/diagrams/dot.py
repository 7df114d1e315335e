"""A drawing as DOT text, for Graphviz."""

from __future__ import annotations

import html
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mlograph.diagrams.drawing import Drawing, Edge, Key, Node
from mlograph.diagrams.engines import Engine
from mlograph.diagrams.palette import FACES, INK, LINES, PAPER, SOFT

if TYPE_CHECKING:
    import graphviz

# One name, and one whose widths every engine knows: a list of fonts is measured as if unknown.
_FONT = "Arial"


def render_dot(drawing: Drawing, engines: Sequence[Engine] = ()) -> bytes:
    """DOT text; needs no engine."""
    return dot_text(drawing).encode()


def dot_text(drawing: Drawing) -> str:
    """The drawing in the DOT language: uppers above lowers, title on top, legend below."""
    # Only here: it takes a tenth of the time in which `check` answers.
    import graphviz  # noqa: PLC0415

    graph = graphviz.Digraph(
        "mlograph",
        graph_attr={
            "rankdir": "TB",
            "bgcolor": PAPER,
            "pad": "0.1",
            "nodesep": "0.55",
            "ranksep": "0.7",
            "fontname": _FONT,
            "fontcolor": INK,
            "fontsize": "10",
            "labelloc": "b",
            "label": _legend(drawing),
        },
        node_attr={
            "shape": "box",
            "style": "rounded,filled",
            "fontname": _FONT,
            "fontsize": "10",
            "fontcolor": INK,
            "margin": "0.12,0.07",
        },
        edge_attr={"fontname": _FONT, "fontsize": "9.5", "arrowsize": "0.85"},
    )
    # A graph has only one label, and the legend needs it: the title is the label of a cluster.
    with graph.subgraph(name="cluster_problems") as inner:
        inner.attr(label=_title(drawing), labelloc="t", penwidth="0", margin="4")
        ids = _ids(drawing)
        for level in sorted({node.level for node in drawing.nodes}):
            with inner.subgraph() as row:
                row.attr(rank="same")
                for node in drawing.nodes:
                    if node.level == level:
                        _add_node(row, ids[node.name], node)
        for edge in drawing.edges:
            _add_edge(inner, ids, edge)
    return str(graph.source)


def _ids(drawing: Drawing) -> dict[str, str]:
    """Names where they are plain identifiers; anything else gets a number."""
    return {
        node.name: node.name if node.name.isidentifier() and node.name.isascii() else f"node-{i}"
        for i, node in enumerate(drawing.nodes)
    }


def _add_node(graph: graphviz.Digraph, node_id: str, node: Node) -> None:
    face = FACES[node.kind]
    shape = {"shape": "cylinder", "style": "filled"} if node.kind == "env" else {}
    graph.node(
        node_id,
        _card(node),
        fillcolor=face.fill,
        color=face.border,
        penwidth=f"{face.width}",
        **shape,
    )


def _add_edge(graph: graphviz.Digraph, ids: dict[str, str], edge: Edge) -> None:
    """Written from upper to lower, so that ranks follow levels; `dir` turns the arrow round."""
    line = LINES[edge.kind]
    attributes = {
        "color": line.colour,
        "fontcolor": line.colour,
        "penwidth": f"{line.width}",
        "style": line.dash,
    }
    if edge.label:
        # Browsers leave out a space at the end of a text, unless it is one that breaks no line.
        attributes["label"] = f"<&#160;{_text(edge.label)}&#160;>"
    if edge.source == edge.upper:
        attributes["arrowhead"] = line.head
    else:
        attributes |= {"dir": "back", "arrowtail": line.head}
    if edge.kind == "data":
        attributes["arrowsize"] = "0.55"
    graph.edge(ids[edge.upper], ids[edge.lower], **attributes)


def _card(node: Node) -> str:
    """A node's label: title and badge in the first row, the facts below."""
    rows = [
        f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="13"><B>{_text(node.title)}</B></FONT></TD>'
        f'<TD ALIGN="RIGHT"><FONT POINT-SIZE="9" COLOR="{SOFT}"><I>  {_text(node.badge)}</I></FONT>'
        "</TD></TR>"
    ]
    rows += [f'<TR><TD ALIGN="LEFT" COLSPAN="2">{_text(line)}</TD></TR>' for line in node.lines]
    return _table(rows, 'CELLSPACING="1" CELLPADDING="1"')


def _title(drawing: Drawing) -> str:
    if not drawing.title:
        return ""
    text = f'<FONT POINT-SIZE="15"><B>{_text(drawing.title)}</B></FONT>'
    if drawing.description:
        text += f'<BR/><FONT COLOR="{SOFT}">{_text(drawing.description)}</FONT>'
    return f"<{text}<BR/> >"


def _legend(drawing: Drawing) -> str:
    rows = [_key(key) for key in drawing.legend]
    rows += [
        f'<TR><TD COLSPAN="3" ALIGN="LEFT"><FONT COLOR="{SOFT}">{_text(note)}</FONT></TD></TR>'
        for note in drawing.notes
    ]
    return _table(rows, 'CELLSPACING="0" CELLPADDING="2"') if rows else ""


def _table(rows: Sequence[str], spacing: str) -> str:
    return f'<<TABLE BORDER="0" CELLBORDER="0" {spacing}>{"".join(rows)}</TABLE>>'


def _key(key: Key) -> str:
    """A sample of the line is the lower border of a cell, half as high as the row."""
    line = LINES[key.kind]
    sample = (
        '<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>'
        f'<TD WIDTH="34" HEIGHT="7" FIXEDSIZE="TRUE" BORDER="2" SIDES="B" COLOR="{line.colour}" '
        f'STYLE="{line.dash}"></TD></TR><TR><TD WIDTH="34" HEIGHT="7" FIXEDSIZE="TRUE"></TD></TR>'
        "</TABLE>"
    )
    return (
        f'<TR><TD>{sample}</TD><TD ALIGN="LEFT" CELLPADDING="0">'
        f'<FONT COLOR="{line.colour}">{_text(line.glyph)}</FONT></TD>'
        f'<TD ALIGN="LEFT"><FONT COLOR="{SOFT}">{_text(key.text)}</FONT></TD></TR>'
    )


def _text(text: str) -> str:
    r"""Escaped for an HTML-like label.

    Graphviz turns entities into characters first and then replaces `\N`, `\G` and others by
    names, with no escape from it: a space of no width parts the backslash from the letter.
    """
    return html.escape(text).replace("\\", "&#92;&#8203;")
