"""Formulas as MathML, which browsers draw themselves: no script, no font, no network.

`$…$` in a line and `$$…$$` alone, as in Markdown on GitHub.
"""

from __future__ import annotations

import re
from xml.etree.ElementTree import Element

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor

# Before escapes (180), which would take the backslashes; after code (190), which holds no formulas.
_PRIORITY = 185


class _Formula(InlineProcessor):
    def __init__(self, pattern: str, markdown: Markdown, display: str) -> None:
        super().__init__(pattern, markdown)
        self._display = display

    def handleMatch(  # type: ignore[override]  # noqa: N802
        self, m: re.Match[str], data: str
    ) -> tuple[Element | str, int, int]:
        formula = convert(m.group(1).strip(), display=self._display)
        assert self.md is not None
        return self.md.htmlStash.store(formula), m.start(0), m.end(0)


class Formulas(Extension):
    """Registers both kinds of formulas."""

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802
        block = _Formula(r"\$\$(.+?)\$\$", md, "block")
        inline = _Formula(r"(?<![\\$\w])\$(?!\s)([^$\n]+?)(?<!\s)\$(?![\w$])", md, "inline")
        md.inlinePatterns.register(block, "formula-block", _PRIORITY + 1)
        md.inlinePatterns.register(inline, "formula", _PRIORITY)


def makeExtension(**options: object) -> Formulas:  # noqa: N802
    """What Markdown asks a module of this kind for."""
    return Formulas(**options)
