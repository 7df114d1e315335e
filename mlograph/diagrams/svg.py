"""A drawing as SVG: by an engine where one is installed, by the built-in layouts otherwise."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mlograph.diagrams.dot import dot_text
from mlograph.diagrams.drawing import Drawing
from mlograph.diagrams.engines import Engine, EngineError, first_picture
from mlograph.diagrams.layered import layered_svg
from mlograph.diagrams.listing import listing_svg

_MOST_CARDS = 50


def render_svg(drawing: Drawing, engines: Sequence[Engine]) -> bytes:
    """SVG; an engine that fails or takes too long is passed over."""
    try:
        return _cleaned(first_picture(engines, dot_text(drawing), "svg"))
    except EngineError:
        return built_in_svg(drawing)


def built_in_svg(drawing: Drawing) -> bytes:
    """SVG without any engine: cards and curves, or a list where those could not be read."""
    small = len(drawing.nodes) <= _MOST_CARDS
    return layered_svg(drawing) if small else listing_svg(drawing)


def _cleaned(svg: bytes) -> bytes:
    """The `svg` element alone: a document type would point to the network."""
    element = re.sub(rb"<!--.*?-->\s*", b"", svg[svg.index(b"<svg") :], flags=re.DOTALL)
    start, rest = element.split(b">", 1)
    start = re.sub(rb'\s*xmlns:xlink="[^"]*"', b' role="img"', start)
    return b'<?xml version="1.0" encoding="UTF-8"?>\n' + start + b">" + rest
