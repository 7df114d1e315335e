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


def laid_over(files: Write, base: str, over: str) -> object:
    """The first problem's block `base` says, once a file with `over` in it includes that."""
    text = GRAPH.replace("    loss: losses.lower\n", f"    loss: losses.lower\n    {base}\n")
    text = text.replace("    optimizer: torch.optim.SGD\n" * ("optimizer" in base), "")
    text = text.replace("    module: {copy: upper}\n" * ("module" in base), "")
    files(base=text, main=f"include: base.yaml\nproblems: {{lower: {{{over}}}}}")
    return loads(load("main.yaml").resolved).spec.problems["lower"]


@pytest.mark.parametrize(
    ("base", "over", "target", "arguments"),
    [
        ("optimizer: {_target_: a, lr: 1, momentum: 2}", "optimizer: {_target_: b, lr: 3}",
         "b", {"lr": 3}),
        ("optimizer: {_target_: a, lr: 1, momentum: 2}", "optimizer: {_target_: a, lr: 3}",
         "a", {"lr": 3, "momentum": 2}),
        ("optimizer: {_target_: a, lr: 1, momentum: 2}", "optimizer: {lr: 3}",
         "a", {"lr": 3, "momentum": 2}),
        ("optimizer: {_target_: a, lr: 1}", "optimizer: b", "b", {}),
        ("optimizer: a", "optimizer: {lr: 3}", "a", {"lr": 3}),
        ("optimizer: a", "optimizer: {_target_: b, lr: 3}", "b", {"lr": 3}),
    ],
)  # fmt: skip
def test_arguments_of_another_target_do_not_stay(
    files: Write, base: str, over: str, target: str, arguments: dict[str, int]
):
    optimizer = laid_over(files, base, over).optimizer
    assert (optimizer.target, optimizer.args) == (target, arguments)


def test_arguments_inside_arguments_are_laid_over_in_the_same_way(files: Write):
    base = "data: {_target_: a, size: 1, dataset: {_target_: b, x: 1, inner: {_target_: c, y: 2}}}"
    over = "data: {dataset: {x: 3, inner: {_target_: d, z: 4}}}"
    data = laid_over(files, base, over).data
    assert (data.target, data.args["size"]) == ("a", 1)
    assert (data.args["dataset"].target, data.args["dataset"].args["x"]) == ("b", 3)
    assert data.args["dataset"].args["inner"].args == {"z": 4}


def test_options_of_another_method_do_not_stay(files: Write):
    files(base=GRAPH, main="include: base.yaml\nproblems: {lower: {hypergradient: {method: soba}}}")
    assert load("main.yaml").spec.problems["lower"].hypergradient.method == "soba"
    files(main="include: base.yaml\nproblems: {lower: {hypergradient: {damping: 0.5}}}")
    cg = load("main.yaml").spec.problems["lower"].hypergradient
    assert (cg.method, cg.iterations, cg.damping) == ("cg", 3, 0.5)


def test_a_module_of_its_own_takes_the_place_of_a_copy(files: Write):
    made = laid_over(files, "module: {copy: upper}", "module: {_target_: a, x: 1}").module
    assert (made.target, made.args) == ("a", {"x": 1})
    copied = laid_over(files, "module: {_target_: a, x: 1}", "module: {copy: upper}").module
    assert copied.copy_of == "upper"


def test_what_is_no_argument_of_a_target_stays(files: Write):
    validate = "engine: {steps: 9, validate: {_target_: a, x: 1, every: 7}}"
    files(base=f"{GRAPH}{validate}\n", main="include: base.yaml\nengine: {validate: b}")
    assert load("main.yaml").spec.engine.validate_.every is None
    files(main="include: base.yaml\nengine: {validate: {_target_: b, y: 2}}")
    found = load("main.yaml").spec.engine.validate_
    assert (found.every, found.validator.target, found.validator.args) == (7, "b", {"y": 2})


def test_plain_values_have_no_targets(files: Write):
    files(
        base=f"{GRAPH}".replace("list: [1, 2]", "made: {method: a, x: 1}"),
        main="include: base.yaml\nvars: {made: {method: b}}",
    )
    assert load("main.yaml").spec.vars["made"] == {"method": "b", "x": 1}


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
         " (a text with ': ' needs quotes; a key has a space after its colon)"),
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
