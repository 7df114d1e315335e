"""Graphs in Python."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

import mlograph
from mlograph import Graph, GraphError, UsageError
from mlograph.loggers.memory import Memory
from mlograph.views import View

PAIR = """\
mlograph: 1
name: pair
problems:
  outer:
    module: {_target_: mlograph.nn.Tensors, u: []}
    optimizer: {_target_: torch.optim.SGD, lr: 0.1}
    loss: losses.upper
  inner:
    module: {_target_: mlograph.nn.Tensors, w: []}
    optimizer: {_target_: sgd, lr: 0.5}
    loss: losses.lower
    unroll_steps: 2
    hypergradient: exact
edges:
  - u2l: outer -> inner
  - l2u: inner -> outer
engine: {steps: 3, log_every: 1, device: cpu}
"""

LOSSES = """\
def lower(inner, outer):
    return (inner()["w"] - outer()["u"]) ** 2

def upper(inner, outer):
    return (inner()["w"] - 1) ** 2
"""


def lower(inner: View, outer: View):
    return (inner()["w"] - outer()["u"]) ** 2


def upper(inner: View, outer: View):
    return (inner()["w"] - 1) ** 2


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    (tmp_path / "losses.py").write_text(LOSSES)
    (tmp_path / "pair.yaml").write_text(PAIR)
    return tmp_path / "pair.yaml"


def problems(**changes: Any) -> dict:
    tensors = "mlograph.nn.Tensors"
    return {
        "outer": {
            "module": {"_target_": tensors, "u": []},
            "optimizer": {"_target_": torch.optim.SGD, "lr": 0.1},
            "loss": upper,
        },
        "inner": {
            "module": {"_target_": tensors, "w": []},
            "optimizer": {"_target_": "sgd", "lr": 0.5},
            "loss": lower,
            "unroll_steps": 2,
            "hypergradient": "exact",
            **changes,
        },
    }


EDGES = [("u2l", "outer", "inner"), {"l2u": "inner -> outer"}]


def built(**changes: Any) -> Graph:
    engine = {"steps": 3, "log_every": 1, "device": "cpu"}
    return Graph(problems=problems(**changes), edges=EDGES, engine=engine, name="pair")


def test_a_file_and_its_twin_in_python_have_the_same_plan_and_words(pair: Path):
    loaded = mlograph.load(pair)
    assert loaded.check() == built().check() == ()
    assert loaded.plan() == built().plan()
    assert loaded.explain() == built().explain()
    assert loaded.spec.name == "pair"


def test_overrides_change_what_a_file_says(pair: Path):
    graph = mlograph.load(pair, ["engine.steps=7"])
    assert graph.plan().steps == 7
    assert "steps: 7" in graph.to_yaml()


def test_what_is_wrong_with_the_meaning_of_a_file_is_told_with_its_place(pair: Path):
    pair.write_text(PAIR.replace("l2u: inner -> outer", "l2u: inner -> outr"))
    graph = mlograph.load(pair)
    for use in (graph.check, graph.plan, graph.explain, graph.render):
        with pytest.raises(GraphError) as caught:
            use()
        (fault,) = caught.value.faults
        assert fault.hint == "did you mean 'outer'?"
        assert str(fault.location) == f"{pair}:16:10"


def test_rates_without_a_solution_are_told_with_their_place(tmp_path: Path):
    (tmp_path / "diamond.yaml").write_text(
        PAIR.replace("name: pair", "name: diamond")
        .replace(
            "edges:",
            "  side: {module: torch.nn.Identity, optimizer: sgd, loss: mse, unroll_steps: 3}\n"
            "edges:\n  - l2u: inner -> side\n  - l2u: side -> outer",
        )
        .replace("losses.upper", "mse\n    unequal_unroll: true")
    )
    with pytest.raises(GraphError, match="rates without a solution") as caught:
        mlograph.load(tmp_path / "diamond.yaml").check()
    assert caught.value.faults[0].location is not None


def test_what_is_wrong_with_the_form_of_a_file_hides_nothing_of_its_meaning(pair: Path):
    text = PAIR.replace("l2u: inner -> outer", "l2u: inner -> outr")
    pair.write_text(text.replace("unroll_steps: 2", "unroll_steps: two"))
    with pytest.raises(GraphError) as caught:
        mlograph.load(pair)
    assert [str(fault.location) for fault in caught.value.faults] == [
        f"{pair}:12:19",
        f"{pair}:16:10",
    ]


def test_what_is_wrong_with_the_form_of_a_python_graph_hides_nothing_of_its_meaning():
    with pytest.raises(GraphError) as caught:
        Graph(problems=problems(unroll_steps=0, start_from="outr"), edges=EDGES)
    assert [fault.path[-1] for fault in caught.value.faults] == ["unroll_steps", "start_from"]


def test_faults_of_a_graph_from_python_have_paths(pair: Path):
    with pytest.raises(GraphError) as caught:
        built(unroll_steps=0)
    assert caught.value.faults[0].path == ("problems", "inner", "unroll_steps")
    with pytest.raises(GraphError) as caught:
        built(start_from="outr").check()
    assert caught.value.faults[0].path == ("problems", "inner", "start_from")


def test_warnings_are_given_with_their_place(pair: Path):
    extra = "  alone: {module: torch.nn.Identity, optimizer: sgd, loss: mse}\nedges:"
    text = PAIR.replace("edges:", extra).replace("steps: 3", "steps: 3, of: outer")
    pair.write_text(text)
    (fault,) = mlograph.load(pair).check()
    assert "shares no edge" in fault.message
    assert fault.location is not None


@pytest.mark.parametrize("argument", ["overrides", "allow"])
def test_a_lone_text_is_no_list_of_texts(argument: str, pair: Path):
    with pytest.raises(UsageError, match=f"{argument}: expected a list"):
        mlograph.load(pair, **{argument: "engine.steps=7"})


def test_a_graph_is_written_as_yaml_that_reads_back(pair: Path):
    text = mlograph.load(pair).to_yaml()
    pair.write_text(text)
    assert mlograph.load(pair).to_yaml() == text


def test_live_objects_cannot_be_written_as_yaml():
    with pytest.raises(GraphError, match="built in Python"):
        built(module=torch.nn.Linear(1, 1)).to_yaml()


def test_a_diagram_is_saved_in_the_format_of_its_suffix(pair: Path, tmp_path: Path):
    graph = mlograph.load(pair)
    graph.save_diagram(tmp_path / "g.svg")
    graph.save_diagram(tmp_path / "g.gv")
    graph.save_diagram(tmp_path / "g.txt", "mermaid")
    assert b"<svg" in (tmp_path / "g.svg").read_bytes()
    assert (tmp_path / "g.gv").read_bytes() == graph.render("dot")
    assert (tmp_path / "g.txt").read_bytes() == graph.render("mermaid")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("g.sgv", r"no format 'sgv' \(did you mean 'svg'\?\)"),
        ("g", "a suffix such as .svg"),
        ("no/such/g.svg", "no/such/g.svg: cannot be written"),
    ],
)
def test_a_diagram_that_cannot_be_saved_says_why(
    name: str, message: str, pair: Path, tmp_path: Path
):
    with pytest.raises(UsageError, match=message):
        mlograph.load(pair).save_diagram(tmp_path / name)


def test_a_notebook_shows_the_diagram_or_what_is_wrong(pair: Path):
    shown = mlograph.load(pair)._repr_mimebundle_()
    assert shown["text/plain"] == "Graph(name='pair', problems=['outer', 'inner'])"
    assert "<svg" in shown["image/svg+xml"]
    shown = built(start_from="outr")._repr_mimebundle_()
    assert "no problem 'outr'" in shown["text/plain"]
    assert "image/svg+xml" not in shown


def test_a_run_from_a_file_is_recorded(pair: Path, tmp_path: Path):
    result = mlograph.load(pair).run(tmp_path / "runs", quiet=True)
    assert result.steps == 3
    assert result.directory is not None
    assert (result.directory / "report.html").is_file()
    assert len((result.directory / "metrics.jsonl").read_text().splitlines()) == 3


def test_a_run_from_python_writes_nothing_unless_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    memory = Memory()
    result = built().run(loggers=[memory], quiet=True)
    assert result.directory is None
    assert memory.records == result.records
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""


def test_a_run_with_live_objects_says_in_its_folder_what_it_cannot_write(tmp_path: Path):
    def nested(inner: View, outer: View):
        return lower(inner, outer)

    result = built(loss=nested).run(tmp_path, quiet=True)
    assert result.directory is not None
    text = (result.directory / "resolved.yaml").read_text()
    assert text.startswith("# problems.inner.loss")


def test_a_component_that_cannot_be_built_is_told_with_its_place(pair: Path, tmp_path: Path):
    pair.write_text(PAIR.replace("losses.lower", "losses.lowr"))
    with pytest.raises(GraphError) as caught:
        mlograph.load(pair).run(tmp_path / "runs", quiet=True)
    assert str(caught.value).startswith(f"{pair}:11:")
    assert not (tmp_path / "runs").exists() or list((tmp_path / "runs").iterdir()) == []


def test_nothing_but_a_run_imports_torch(pair: Path):
    script = f"""
import sys
import mlograph
graph = mlograph.load({str(pair)!r})
graph.check(), graph.plan(), graph.explain(), graph.to_yaml()
for fmt in ("dot", "svg", "mermaid"):
    graph.render(fmt)
assert "torch" not in sys.modules, "torch was imported"
"""
    subprocess.run([sys.executable, "-c", script], check=True)
