"""Diagrams of a graph and its plan: one file a format, all from the same `Drawing`."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mlograph.diagrams.dot import render_dot
from mlograph.diagrams.drawing import Drawing, draw
from mlograph.diagrams.engines import Engine, installed
from mlograph.diagrams.mermaid import render_mermaid
from mlograph.diagrams.page import render_html
from mlograph.diagrams.png import render_png
from mlograph.diagrams.svg import render_svg
from mlograph.errors import UsageError, did_you_mean
from mlograph.graph import ProblemGraph
from mlograph.plan import Plan

Renderer = Callable[[Drawing, Sequence[Engine]], bytes]

FORMATS: dict[str, Renderer] = {
    "dot": render_dot,
    "svg": render_svg,
    "png": render_png,
    "mermaid": render_mermaid,
    "html": render_html,
}

SUFFIXES: dict[str, str] = {
    ".dot": "dot",
    ".gv": "dot",
    ".svg": "svg",
    ".png": "png",
    ".mmd": "mermaid",
    ".html": "html",
}


def render(
    graph: ProblemGraph, plan: Plan, fmt: str, engines: Sequence[Engine] | None = None
) -> bytes:
    """A graph and its plan in one of the `FORMATS`.

    Args:
        graph: what is drawn.
        plan: its plan; rates and hypergradients are written on the diagram.
        fmt: a key of `FORMATS`.
        engines: programs that lay DOT out, best first; by default those installed here.

    Raises:
        UsageError: an unknown format, or a PNG without an engine.
    """
    if fmt not in FORMATS:
        raise UsageError(f"no format '{fmt}' ({did_you_mean(fmt, FORMATS)})")
    return FORMATS[fmt](draw(graph, plan), installed() if engines is None else engines)
