"""A drawing and its plan as one HTML page that needs nothing else, on light and dark screens."""

from __future__ import annotations

import dataclasses
import html
import re
from collections.abc import Sequence

from mlograph.diagrams.drawing import Drawing
from mlograph.diagrams.engines import Engine
from mlograph.diagrams.palette import DARK, INK, PAPER, SOFT
from mlograph.diagrams.svg import render_svg

# Nothing may be loaded and no script may run, whatever a graph's texts contain.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def render_html(drawing: Drawing, engines: Sequence[Engine]) -> bytes:
    """A page with the picture, legend included, and the plan in words."""
    # Title and description stand on the page already.
    untitled = dataclasses.replace(drawing, title="", description="")
    svg = re.sub(r"^<\?xml[^>]*\?>\s*", "", render_svg(untitled, engines).decode())
    title = html.escape(drawing.title)
    about = f"<p>{html.escape(drawing.description)}</p>\n" if drawing.description else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{_style()}</style>\n</head>\n<body>\n"
        f"<h1>{title}</h1>\n{about}<figure>\n{svg}</figure>\n"
        f"<h2>Plan</h2>\n<pre>{html.escape(drawing.explanation)}</pre>\n</body>\n</html>\n"
    ).encode()


def _style() -> str:
    return _BASE + f"@media (prefers-color-scheme: dark) {{\n{_NIGHT}}}\n" + night("figure")


def night(selector: str) -> str:
    """CSS that gives a picture inside `selector` its dark colours on a dark screen.

    Pictures keep their colours as attributes, so a dark page replaces each by its like.
    """
    dark = "\n".join(
        f'  {selector} [fill="{light}"] {{ fill: {shade}; }} '
        f'{selector} [stroke="{light}"] {{ stroke: {shade}; }}'
        for light, shade in DARK.items()
    )
    return f"@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


_BASE = f"""\
:root {{ color-scheme: light dark; }}
body {{ max-width: 70rem; margin: 2rem auto; padding: 0 1.5rem; color: {INK};
  background: {PAPER}; font: 16px/1.5 system-ui, sans-serif; }}
h1 {{ margin-bottom: 0; }}
p {{ margin-top: .25rem; color: {SOFT}; }}
figure {{ margin: 1.5rem 0; overflow-x: auto; text-align: center; }}
figure svg {{ max-width: max(100%, 32rem); height: auto; }}
pre {{ overflow-x: auto; padding: 1rem; border: 1px solid {SOFT}40; border-radius: 8px;
  font: 13px/1.45 ui-monospace, monospace; }}
"""

_NIGHT = f"""\
  body {{ color: {DARK[INK]}; background: {DARK[PAPER]}; }}
  p {{ color: {DARK[SOFT]}; }}
"""
