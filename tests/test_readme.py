"""Everything that the README shows is what the commands beside it give."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import mlograph
from mlograph import cli

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> mlograph.Graph:
    """The first screen's graph, with the loss beside it."""
    (tmp_path / "reweight.yaml").write_text(blocks("yaml")[0])
    (tmp_path / "reweight.py").write_text(blocks("python")[0])
    monkeypatch.chdir(tmp_path)
    return mlograph.load("reweight.yaml", ["engine.steps=3"])


def test_the_plan_is_the_one_shown(graph: mlograph.Graph):
    assert mlograph.load("reweight.yaml").explain() == blocks("text")[0]


def test_the_diagram_is_the_one_shown(graph: mlograph.Graph):
    drawn = mlograph.load("reweight.yaml").render("mermaid").decode()
    assert drawn == blocks("mermaid")[0]


def test_the_graph_runs(graph: mlograph.Graph):
    result = graph.run(quiet=True)
    assert result.steps == 3
    assert {"weigher", "classifier"} == set(result.modules)


def test_the_same_in_python(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(ROOT)
    code = next(block for block in blocks("python") if "mlograph.load(" in block)
    assert "engine.steps=50" in code
    exec(code.replace("engine.steps=50", "engine.steps=2"), {})
    assert "'accuracy': 0." in capsys.readouterr().out


def test_the_refused_graph_is_refused_in_these_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The three mistakes of the README's example, made in the first screen's graph."""
    text = blocks("yaml")[0]
    text = text.replace("hypergradient: unroll", "hypergradient: unrol")
    text = text.replace("warmup_steps", "warm_up_steps")
    text = text.replace("u2l: weigher -> classifier", "u2l: weigher -> clasifier")
    (tmp_path / "reweight.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["mlograph", "check", "reweight.yaml"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    assert capsys.readouterr().err == blocks("text")[1]


@pytest.mark.parametrize("path", re.findall(r"\]\(((?:docs|mlograph)/[\w/.-]+)", README))
def test_files_that_are_linked_exist(path: str):
    assert (ROOT / path).is_file()


@pytest.mark.parametrize("path", sorted((ROOT / "graphs").glob("*.yaml")), ids=lambda p: p.stem)
def test_shipped_graphs_are_in_the_table_and_say_what_they_are(path: Path):
    text = path.read_text(encoding="utf-8")
    assert f"`graphs/{path.name}`" in README
    assert text.startswith("# yaml-language-server: $schema=../mlograph/language/graph.schema.json")
    assert len(re.match(r"(#.*\n)+", text)[0].splitlines()) >= 5
    mlograph.load(path).check()
