"""Every format of every case: well-formed, self-contained, and showing what it should."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import dataclass, field

import pytest
from diagram_cases import CASES, compiled, edges, imaml, problem

from mlograph.diagrams import FORMATS, SUFFIXES, render
from mlograph.diagrams.engines import Engine, EngineError, Program, Target, TooSlowError, installed
from mlograph.diagrams.palette import DARK, FACES, LINES
from mlograph.errors import UsageError

SVG = "{http://www.w3.org/2000/svg}"
ENGINES = installed()
needs_engine = pytest.mark.skipif(not ENGINES, reason="no program that draws DOT")

# With the built-in layout, and with each program of this machine on its own.
WAYS = [(), *((engine,) for engine in ENGINES)]


@dataclass
class Failing:
    """An engine that never draws."""

    error: EngineError
    calls: list[Target] = field(default_factory=list)

    def run(self, dot: str, target: Target) -> bytes:
        self.calls.append(target)
        raise self.error


def shown(name: str, fmt: str, engines: tuple[Engine, ...] = ()) -> str:
    return render(*compiled(CASES[name]()), fmt, engines).decode()


@pytest.mark.parametrize("fmt", [fmt for fmt in FORMATS if fmt != "png"])
@pytest.mark.parametrize("name", CASES)
def test_every_format_names_every_problem(name: str, fmt: str):
    text = shown(name, fmt)
    for problem_name in CASES[name]()["problems"]:
        assert problem_name in text


@needs_engine
@pytest.mark.parametrize("engine", ENGINES, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_png(name: str, engine: Program):
    picture = render(*compiled(CASES[name]()), "png", [engine])
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")


@pytest.mark.parametrize("engines", WAYS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_svg_is_well_formed_and_needs_no_network(name: str, engines: tuple[Engine, ...]):
    text = shown(name, "svg", engines)
    root = ET.fromstring(text)
    assert root.tag == f"{SVG}svg" and root.get("viewBox")
    assert "DOCTYPE" not in text
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {SVG.strip("{}")}


@pytest.mark.parametrize("engines", WAYS, ids=str)
@pytest.mark.parametrize("name", CASES)
def test_html_is_self_contained(name: str, engines: tuple[Engine, ...]):
    text = shown(name, "html", engines)
    assert set(re.findall(r"https?://[^\s\"'<]+", text)) == {SVG.strip("{}")}
    for loading in ("<script", "<link", "<img", "@import", "src=", "href="):
        assert loading not in text
    assert text.count("<svg") == 1 and "<?xml" not in text
    assert "<pre>" in text and "prefers-color-scheme: dark" in text


@pytest.mark.parametrize("engines", WAYS, ids=str)
def test_kinds_of_edges_differ_by_colour_and_by_dash(engines: tuple[Engine, ...]):
    svg = ET.fromstring(shown("imaml", "svg", engines))
    looks = {}
    for path in svg.iter():
        if path.get("stroke") in {line.colour for line in LINES.values()} and path.get("d"):
            looks[path.get("stroke")] = path.get("stroke-dasharray")
    looks = {colour: dash for colour, dash in looks.items() if colour is not None}
    dashes = [looks[line.colour] for line in LINES.values()]
    assert dashes[0] is None and len(set(dashes)) == 3
    assert len({line.head for line in LINES.values()}) == 3


def test_dot_and_mermaid_tell_edges_apart():
    dot, mermaid = shown("imaml", "dot"), shown("imaml", "mermaid")
    for line in LINES.values():
        assert f"style={line.dash}" in dot and line.colour in dot and line.colour in mermaid
    assert "n0 --> n1" in mermaid and 'n1 -.->|"cg (iterations 5)"| n0' in mermaid
    assert 'n2 -.-o|"query"| n0' in mermaid and '[("' in mermaid


def test_what_a_node_says():
    svg = shown("imaml", "svg")
    for words in (
        "ConvNet · AdamW", "accumulate × 16", "1 update, 16 passes a period", "unroll × 5",
        "loops start from outer", "cg (iterations 5)", "copy of outer · SGD", ">leaf<", ">top<",
        "FewShotEnv", ">query<", ">support<", "u2l: ", "l2u: ", "batches of the Env",
    ):  # fmt: skip
        assert words in svg
    assert "warm-up 100" in shown("warm-up", "svg")


def test_approximations_are_marked_and_explained():
    svg = shown("trilevel", "svg")
    assert "≈ darts (scale lr)" in svg and "≈ neumann (iterations 10)" in svg
    assert "≈ hypergradient of top: partial curvature" in svg
    assert "≈" not in shown("diamond", "svg")


def test_a_method_stands_on_the_node_where_no_single_edge_bears_it():
    assert "answers by cg (iterations 10)" in shown("hidden-path", "svg")
    assert "answers by cg (iterations 20)" in shown("diamond", "svg")
    assert "answers by" not in shown("trilevel", "svg")


def test_an_edge_without_a_hypergradient_says_so():
    spec = {
        "name": "direct",
        "problems": {"top": problem(), "leaf": problem()},
        "edges": edges("l2u: leaf -> top"),
    }
    assert "direct only" in render(*compiled(spec), "svg", ()).decode()


def test_every_colour_has_one_for_dark_pages():
    colours = {line.colour for line in LINES.values()}
    colours |= {colour for face in FACES.values() for colour in (face.fill, face.border)}
    svg = shown("trilevel", "svg") + shown("imaml", "svg")
    colours |= set(re.findall(r'(?:fill|stroke)="(#[0-9a-f]+)"', svg))
    assert colours <= set(DARK)


def test_formats_and_suffixes_agree():
    assert set(SUFFIXES.values()) == set(FORMATS)


def test_an_unknown_format_gets_the_nearest():
    with pytest.raises(UsageError, match=r"no format 'pgn' \(did you mean 'png'\?\)"):
        render(*compiled(imaml()), "pgn")


def test_png_without_an_engine_says_what_to_install():
    with pytest.raises(UsageError) as error:
        render(*compiled(imaml()), "png", ())
    assert "pip install graphviz-pure" in str(error.value)
    assert "apt-get install graphviz" in str(error.value)


def test_svg_passes_over_engines_that_fail():
    first, second = Failing(EngineError("broken")), Failing(EngineError("broken too"))
    assert b"head-u2l" in render(*compiled(imaml()), "svg", [first, second])
    assert first.calls == second.calls == ["svg"]
    with pytest.raises(UsageError, match="broken; broken too; try svg or html"):
        render(*compiled(imaml()), "png", [first, second])


def test_one_engine_that_is_too_slow_is_enough():
    slow, other = Failing(TooSlowError("slow")), Failing(EngineError("never asked"))
    assert b"head-u2l" in render(*compiled(imaml()), "svg", [slow, other])
    assert other.calls == []


def test_a_program_is_stopped_in_time():
    sleeper = Program(sys.executable, seconds=0.2, options=("-c", "import time; time.sleep(60)"))
    with pytest.raises(TooSlowError, match=r"longer than 0\.2 s"):
        sleeper.run("digraph {}", "svg")


def test_a_program_that_fails_is_quoted():
    with pytest.raises(EngineError, match="failed: no such layout"):
        Program(
            sys.executable, options=("-c", "import sys; sys.exit('no such layout')")
        ).run("digraph {}", "svg")  # fmt: skip
    with pytest.raises(EngineError, match="did not start"):
        Program("/nowhere/dot").run("digraph {}", "svg")


def test_no_torch():
    code = "import sys, mlograph.diagrams; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
