"""A drawing as Mermaid text, which GitHub and many editors show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlograph.diagrams.drawing import Drawing, Edge, EdgeKind, Node
from mlograph.diagrams.engines import Engine
from mlograph.diagrams.palette import FACES, INK, LINES

_ARROWS: dict[EdgeKind, str] = {"u2l": "-->", "l2u": "-.->", "data": "-.-o"}


def render_mermaid(drawing: Drawing, engines: Sequence[Engine] = ()) -> bytes:
    """Mermaid text; needs no engine."""
    return ("\n".join(_lines(drawing)) + "\n").encode()


def _lines(drawing: Drawing) -> Iterator[str]:
    # Numbers, because `end` or `click` would be names to us and commands to Mermaid.
    ids = {node.name: f"n{index}" for index, node in enumerate(drawing.nodes)}
    yield from ("---", f'title: "{_text(drawing.title)}"', "---", "flowchart TD")
    for level in sorted({node.level for node in drawing.nodes}):
        for node in drawing.nodes:
            if node.level == level:
                yield f"  {ids[node.name]}{_card(node)}:::{node.kind}"
    for edge in drawing.edges:
        yield f"  {_arrow(ids, edge)}"
    for place, face in FACES.items():
        yield (
            f"  classDef {place} fill:{face.fill},stroke:{face.border},"
            f"stroke-width:{face.width:g}px,color:{INK},text-align:left"
        )
    for kind, line in LINES.items():
        numbers = [str(i) for i, edge in enumerate(drawing.edges) if edge.kind == kind]
        if numbers:
            dash = f",stroke-dasharray:{line.dashes.replace(',', ' ')}" if line.dashes else ""
            yield (
                f"  linkStyle {','.join(numbers)} stroke:{line.colour},"
                f"stroke-width:{line.width:g}px,color:{line.colour}{dash}"
            )
    for key in drawing.legend:
        yield f"  %% {_ARROWS[key.kind]} {_text(key.text)}"
    for note in drawing.notes:
        yield f"  %% {_text(note)}"


def _card(node: Node) -> str:
    rows = [f"<b>{_text(node.title)}</b> <i>{_text(node.badge)}</i>", *map(_text, node.lines)]
    label = f'"{"<br/>".join(rows)}"'
    if node.kind == "env":
        return f"[({label})]"
    return f"([{label}])" if node.kind == "leaf" else f"[{label}]"


def _arrow(ids: dict[str, str], edge: Edge) -> str:
    label = f'|"{_text(edge.label)}"|' if edge.label else ""
    return f"{ids[edge.source]} {_ARROWS[edge.kind]}{label} {ids[edge.target]}"


def _text(text: str) -> str:
    """Mermaid takes no backslashes; its own entities are numbers: `#34;` is a quote."""
    return "".join(c if c.isalnum() or c in _HARMLESS else f"#{ord(c)};" for c in text)


_HARMLESS = frozenset(" .,:-_()×→≈·+=/'")
