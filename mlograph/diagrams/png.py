"""A drawing as PNG, which takes an engine."""

from __future__ import annotations

from collections.abc import Sequence

from mlograph.diagrams.dot import dot_text
from mlograph.diagrams.drawing import Drawing
from mlograph.diagrams.engines import Engine, EngineError, first_picture
from mlograph.errors import UsageError


def render_png(drawing: Drawing, engines: Sequence[Engine]) -> bytes:
    """PNG at 144 dots an inch.

    Raises:
        UsageError: no engine is installed, or none could draw it.
    """
    if not engines:
        raise UsageError(
            "a PNG takes Graphviz, which is not installed: 'pip install \"mlograph[png]\"' "
            "(or 'pip install graphviz-pure'), or 'apt-get install graphviz'; "
            "svg, html, dot and mermaid need neither"
        )
    try:
        return first_picture(engines, dot_text(drawing), "png")
    except EngineError as error:
        raise UsageError(f"no PNG of '{drawing.title}': {error}; try svg or html") from None
