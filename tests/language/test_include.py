from collections.abc import Callable
from pathlib import Path

import pytest
from language_cases import GRAPH

from mlograph.errors import Fault, GraphError
from mlograph.language import load, loads

Write = Callable[..., None]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    monkeypatch.chdir(tmp_path)

    def write(**texts: str) -> None:
        for name, text in texts.items():
            (tmp_path / f"{name}.yaml").write_text(text)

    return write


def refusal(name: str) -> list[str]:
    with pytest.raises(GraphError) as caught:
        load(name)
    return [str(fault).split("\n")[0] for fault in caught.value.faults]


def test_this_file_is_laid_over_what_it_includes(files: Write):
    files(
        base=GRAPH,
        main="include: base.yaml\nname: mine\nvars: {list: [3]}\n"
        "problems: {lower: {hypergradient: {iterations: 9}, optimizer: {_target_: a, lr: 1}}}",
    )
    spec = load("main.yaml").spec
    assert spec.name == "mine"
    assert spec.vars == {"rate": 0.1, "list": [3]}
    assert spec.problems["lower"].hypergradient.iterations == 9
    assert spec.problems["lower"].unroll_steps == 5
    assert spec.problems["lower"].optimizer.args == {"lr": 1}


def test_of_several_files_the_later_wins(files: Write):
    files(base=GRAPH, more="name: more\ndescription: both", main="include: [base.yaml, more.yaml]")
    spec = load("main.yaml").spec
    assert (spec.name, spec.description) == ("more", "both")


def test_names_are_relative_to_the_including_file(files: Write, tmp_path: Path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "base.yaml").write_text(GRAPH)
    (tmp_path / "sub" / "middle.yaml").write_text("include: base.yaml")
    files(main="include: sub/middle.yaml")
    assert load("main.yaml").spec.name == "tiny"
    assert load(tmp_path / "main.yaml").spec.name == "tiny"


def test_faults_are_shown_in_the_file_that_they_stand_in(files: Write):
    files(base=GRAPH.replace("steps: 5", "steps: five"), main="include: base.yaml\nnam: x\nname: y")
    assert refusal("main.yaml") == [
        "main.yaml:2:1: nam: unknown key (did you mean 'name'?)",
        "base.yaml:13:19: problems.lower.unroll_steps: expected an integer ≥ 1, got 'five'",
    ]


def test_sources_locate_in_every_file(files: Write):
    files(base=GRAPH, main="include: base.yaml\nproblems: {lower: {unroll_steps: 6}}")
    source = load("main.yaml").source
    steps = source.locate(Fault(("problems", "lower", "unroll_steps"), "m"))
    loss = source.locate(Fault(("problems", "lower", "loss"), "m", on_key=True))
    assert str(steps.location) == "main.yaml:2:34"
    assert str(loss.location) == "base.yaml:11:5"


def test_circles_are_shown_as_a_path_of_files(files: Write):
    files(main="include: a.yaml", a="x: 1\ninclude: [b.yaml]", b="include: a.yaml")
    assert refusal("main.yaml") == [
        "b.yaml:1:10: include: files include each other in a circle: a.yaml -> b.yaml -> a.yaml"
    ]
    files(main="include: ./main.yaml")
    assert refusal("main.yaml") == [
        "main.yaml:1:10: include: files include each other in a circle: main.yaml -> main.yaml"
    ]


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ("bsae.yaml",
         "main.yaml:1:10: include: 'bsae.yaml': there is no such file (did you mean 'base.yaml'?)"),
        ("[base.yaml, 3]", "main.yaml:1:22: include[1]: expected the name of a file, got 3"),
        ("", "main.yaml:1:1: include: expected the name of a file, got nothing"),
        ("{a: b}", "main.yaml:1:10: include: expected the name of a file, got a mapping"),
        ("'${vars.a}.yaml'", "main.yaml:1:10: include: references cannot stand in the name of an"
         " included file"),
        ("empty.yaml", "main.yaml:1:10: include: 'empty.yaml': the file is empty"),
        ("list.yaml", "list.yaml:1:1: expected a mapping with 'mlograph: 1', got a list"),
        ("bad.yaml", "bad.yaml:1:5: not YAML: mapping values are not allowed in this context"
         " (a text with ': ' needs quotes)"),
        (f"[{', '.join(['base.yaml'] * 65)}]",
         "main.yaml:1:715: include[64]: more than 64 files are included"),
    ],
)  # fmt: skip
def test_includes_that_cannot_be_followed(files: Write, entry: str, message: str):
    files(base=GRAPH, main=f"include: {entry}", empty="", list="- a", bad="a: b: c")
    assert refusal("main.yaml") == [message]


def test_a_file_is_read_once_however_often_it_is_included(files: Write):
    rounds = {f"f{i}": f"include: [f{i - 1}.yaml, f{i - 1}.yaml]" for i in range(1, 40)}
    files(f0=GRAPH, **rounds)
    assert load("f39.yaml").spec.name == "tiny"


def test_files_are_bounded_together(files: Write):
    long = "\n".join(f"  - {i}" for i in range(60_000))
    files(a=f"{GRAPH}more:\n{long}", b=f"include: a.yaml\nmore:\n{long}")
    assert refusal("b.yaml") == ["b.yaml:1:10: include: 'a.yaml': the files together are too large"]


def test_more_files_than_anyone_needs(files: Write):
    files(f0=GRAPH, **{f"f{i}": f"include: f{i - 1}.yaml" for i in range(1, 80)})
    assert "more than 64 files are included" in refusal("f79.yaml")[0]


def test_a_text_includes_nothing():
    with pytest.raises(GraphError) as caught:
        loads(f"include: a.yaml\n{GRAPH}", "g.yaml")
    assert str(caught.value).startswith(
        "g.yaml:1:1: include: only a file can include another, and this text is none"
    )


def test_the_resolved_text_includes_nothing(files: Write):
    files(base=GRAPH, main="include: base.yaml")
    loaded = load("main.yaml")
    assert "include" not in loaded.resolved
    assert loads(loaded.resolved).spec == loaded.spec
