"""Free text of a graph (descriptions, import paths) stays text in every format."""

from __future__ import annotations

import html
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from diagram_cases import compiled, imaml

from mlograph.diagrams import render
from mlograph.diagrams.engines import Engine, installed

ATTACKS = [
    '"]; evil [label="evil"]; "',
    "<script>alert(1)</script>",
    "</text></svg><img src=x onerror=alert(1)>",
    "<B>bold</B> & &amp; &#60;i&#62;",
    r"\N \G \E \n \" \\",
    "--> <!-- ]]>",
    '"]:::top; click n0 "javascript:alert(1)"',
    "%%{init: {'theme': 'dark'}}%% `markdown` #quot;",
    "zero\x00bell\x07escape\x1b[31m\x7f\u202e\ufffe\ud800",
    "two\nlines\r\nmore\u2028and",
    "<",
    "<<B>x</B>>",
]


def attacked(text: str) -> dict[str, Any]:
    spec = imaml()
    spec["description"] = text
    spec["env"] = text + ".Env" + text
    spec["problems"]["outer"]["module"] = f"package.{text}"
    spec["problems"]["inner"]["optimizer"] = text
    spec["problems"]["outer"]["data"] = f"env.{text}"
    return spec


@pytest.mark.parametrize("engines", [(), installed()], ids=["built-in", "programs"])
@pytest.mark.parametrize("text", ATTACKS)
def test_svg(text: str, engines: tuple[Engine, ...]):
    plain = ET.fromstring(render(*compiled(imaml()), "svg", engines))
    root = ET.fromstring(render(*compiled(attacked(text)), "svg", engines))
    tags = {element.tag for element in plain.iter()}
    assert {element.tag for element in root.iter()} <= tags
    names = {name for element in plain.iter() for name in element.attrib}
    assert {name for element in root.iter() for name in element.attrib} <= names


@pytest.mark.parametrize("text", ATTACKS)
def test_html(text: str):
    page = render(*compiled(attacked(text)), "html", ()).decode()
    for tag in ("<script", "<img", "<B>", "<i>", "</text></svg><"):
        assert tag not in page
    assert page.count("<svg") == page.count("</svg>") == 1


@pytest.mark.parametrize("text", ATTACKS)
def test_dot(text: str):
    """The graph has the same nodes and edges, and Graphviz reads the text as it was written."""
    lines = render(*compiled(attacked(text)), "dot").decode().split("\n")
    assert len(lines) == len(render(*compiled(imaml()), "dot").decode().split("\n"))
    assert not any(line.strip().startswith("evil") for line in lines)


@pytest.mark.parametrize("engines", [(engine,) for engine in installed()], ids=str)
def test_backslashes_survive_graphviz(engines: tuple[Engine, ...]):
    svg = render(*compiled(attacked(r"a \N \G \E b")), "svg", engines).decode()
    assert html.unescape(svg).replace("\u200b", "").count(r"a \N \G \E b") >= 4


@pytest.mark.parametrize("text", ATTACKS)
def test_mermaid(text: str):
    lines = render(*compiled(attacked(text)), "mermaid").decode().split("\n")
    plain = render(*compiled(imaml()), "mermaid").decode().split("\n")
    assert len(lines) == len(plain)
    for line, model in zip(lines, plain, strict=True):
        assert line.count('"') == model.count('"')
        assert line.isprintable()
        assert "`" not in line and "<script" not in line and 'click n0 "' not in line
