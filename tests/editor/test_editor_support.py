"""What an editor makes of a graph file by its schema, with VS Code's own language server.

tools/editor/check installs the server and runs these; without it they are skipped.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from language_server import Server

from mlograph import language
from mlograph.language.methods import METHODS
from mlograph.language.methods.systems import ConjugateGradient
from mlograph.language.offers import OFFERED
from mlograph.language.spec import EngineSpec, ProblemSpec
from mlograph.scaffold import TEMPLATES, scaffold

ROOT = Path(__file__).parents[2]
SERVER = (
    Path(os.environ.get("YAML_LANGUAGE_SERVER", ROOT / ".venv/editor/node_modules/.bin"))
    / "yaml-language-server"
)

pytestmark = pytest.mark.skipif(
    not SERVER.exists() or shutil.which("node") is None, reason="run tools/editor/check"
)

SCHEMA = Path(language.__file__).with_name("graph.schema.json")
HEAD = f"# yaml-language-server: $schema={SCHEMA.as_uri()}\nmlograph: 1\nname: g\n"
BEGIN = f"""\
{HEAD}problems:
  outer:
    module: {{_target_: a.b}}
    optimizer: adam
    loss: a.c
  inner:
    module: {{copy: outer}}
    optimizer: sgd
    loss: a.d
"""
END = """\
edges:
  - u2l: outer -> inner
  - l2u: inner -> outer
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(["node", str(SERVER.resolve())], tmp_path_factory.mktemp("graphs"))
    yield server
    server.close()


def inner(lines: str) -> str:
    """A graph with further lines of its last problem."""
    return f"{BEGIN}    {lines}\n{END}"


def replaced(old: str, new: str) -> str:
    """The graph with something else in one place."""
    assert old in BEGIN + END
    return (BEGIN + END).replace(old, new)


def names(model: type) -> set[str]:
    return {field.alias or name for name, field in model.model_fields.items()}


# Completion of keys.


def test_keys_of_a_graph(server: Server):
    offered = server.completions(f"{HEAD}|\n")
    assert {"problems", "edges", "engine", "env", "vars", "include"} <= set(offered)


def test_keys_of_a_problem_that_it_lacks(server: Server):
    offered = set(server.completions(inner("|")))
    assert offered == names(ProblemSpec) - {"module", "optimizer", "loss"}


def test_keys_of_a_problem_that_has_begun(server: Server):
    assert "unroll_steps" in server.completions(inner("unr|"))


def test_keys_of_an_edge(server: Server):
    assert set(server.completions(replaced("- u2l: outer -> inner", "- |"))) == {"u2l", "l2u"}


def test_keys_of_the_engine(server: Server):
    assert set(server.completions(f"{BEGIN}{END}engine:\n  |\n")) == names(EngineSpec)


def test_keys_inside_the_engine(server: Server):
    checkpoint = server.completions(f"{BEGIN}{END}engine:\n  checkpoint:\n    |\n")
    assert {"every", "minutes", "keep"} <= set(checkpoint)
    validate = server.completions(f"{BEGIN}{END}engine:\n  validate:\n    |\n")
    assert {"_target_", "every"} <= set(validate)


def test_options_of_the_method_that_is_named(server: Server):
    offered = server.completions(inner("hypergradient:\n      method: cg\n      |"))
    assert set(offered) == set(ConjugateGradient.model_fields) - {"method"}


def test_keys_of_a_file_that_includes_another(server: Server):
    text = f"{HEAD}include: base.yaml\nproblems:\n  inner:\n    |\n"
    assert {"module", "unroll_steps", "hypergradient"} <= set(server.completions(text))


def test_what_is_inserted_is_the_default_or_nothing(server: Server):
    offered = server.completions(inner("|"))
    assert offered["unroll_steps"]["insertText"] == "unroll_steps: ${1:1}"
    assert offered["precision"]["insertText"] == "precision: ${1:float32}"
    assert offered["scheduler"]["insertText"].strip() == "scheduler:"
    assert not any("null" in item["insertText"] for item in offered.values())


# Completion of values.


def test_names_of_methods_each_with_what_it_computes(server: Server):
    for text in (inner("hypergradient: |"), inner("hypergradient:\n      method: |")):
        offered = server.completions(text)
        found = {name: text_of(offered[name]) for name in METHODS if name in offered}
        assert found == {name: method.summary for name, method in METHODS.items()}


def text_of(item: dict[str, object]) -> str:
    documentation = item.get("documentation", "")
    return str(documentation["value"] if isinstance(documentation, dict) else documentation)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("problems.precision", {"float32", "float64", "bf16", "fp16"}),
        ("engine.on_nonfinite", {"stop", "skip"}),
        ("engine.execution.tasks", {"auto", "vectorized", "sequential"}),
        ("env.step_every", {"loop", "step"}),
    ],
)
def test_values_of_a_choice(key: str, values: set[str], server: Server):
    section, *steps = key.split(".")
    if section == "problems":
        text = inner(f"{steps[0]}: |")
    else:
        lines = [f"{'  ' * depth}{step}:" for depth, step in enumerate([section, *steps])]
        target = ["  _target_: a.b"] if section == "env" else []
        text = BEGIN + END + "\n".join([lines[0], *target, *lines[1:]]) + " |\n"
    assert values <= set(server.completions(text))


@pytest.mark.parametrize(
    ("old", "key", "kind"),
    [
        ("    optimizer: sgd\n", "optimizer", "Optimizer"),
        ("    loss: a.d\n", "loss", "Loss"),
        ("    loss: a.d\n", "scheduler", "Scheduler"),
        ("    module: {copy: outer}\n", "module", "Module"),
        ("    loss: a.d\n", "data", "Data"),
    ],
)
def test_names_of_components(old: str, key: str, kind: str, server: Server):
    bare = server.completions(replaced(old, f"    {key}: |\n"))
    mapped = server.completions(replaced(old, f"    {key}:\n      _target_: |\n"))
    assert set(OFFERED[kind]) <= set(bare)
    assert set(OFFERED[kind]) <= set(mapped)


# Descriptions.


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (inner("unroll_|steps: 3"), "own updates for one step of each problem above"),
        (inner("hypergradient: c|g"), "* `cg`: conjugate gradients on the Hessian"),
        (inner("hypergradient: {method: n|eumann}"), "truncated Neumann series"),
        (inner("hypergradient: {method: cg, itera|tions: 3}"), "Hessian-vector products at most"),
        (replaced("u2l:", "u2|l:"), "upper -> lower: the upper's parameters stand in the lower's"),
        (f"{BEGIN}{END}engine:\n  ste|ps: 3\n", "updates of"),
    ],
)
def test_hover_says_what_a_key_means(text: str, shown: str, server: Server):
    assert shown in server.hover(text)


# Inline errors.


@pytest.mark.parametrize(
    ("text", "marked", "message"),
    [
        (inner("unrol_steps: 3"), "unrol_steps", "Property unrol_steps is not allowed."),
        (inner("unroll_steps: five"), "five", 'Incorrect type. Expected "integer".'),
        (inner("unroll_steps: 0"), "0", "Value is below the minimum of 1."),
        (inner("precision: half"), "half", 'Value is not accepted. Valid values: "float32"'),
        (inner("hypergradient: cgg"), "cgg", 'Value is not accepted. Valid values: "exact", "cg"'),
        (inner("hypergradient: {method: cg, alpha: 3}"), "alpha", "Property alpha is not allowed."),
        (f"{BEGIN}{END}engine: {{step: 3}}", "step", "Property step is not allowed."),
        (replaced("u2l:", "u2x:"), "u2x", "Property u2x is not allowed."),
        (replaced("outer ->", "outer -"), "outer - inner", "expected two names with '->' between"),
        (replaced("    loss: a.d\n", ""), "inner", 'Missing property "loss".'),
    ],
)
def test_what_is_wrong_is_underlined_and_nothing_else(
    text: str, marked: str, message: str, server: Server
):
    (fault,) = server.faults(text)
    assert fault[0] == marked
    assert fault[1].startswith(message)


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "graphs").glob("*.yaml")))
def test_shipped_graphs_name_the_schema_and_have_no_fault(name: str, server: Server):
    text = (ROOT / "graphs" / name).read_text("utf-8")
    first, rest = text.split("\n", 1)
    assert first == "# yaml-language-server: $schema=../mlograph/language/graph.schema.json"
    assert server.faults(f"# yaml-language-server: $schema={SCHEMA.as_uri()}\n{rest}") == []


@pytest.mark.parametrize("template", TEMPLATES)
def test_new_graphs_find_the_schema_beside_them(template: str, tmp_path: Path, server: Server):
    graph, _, _ = scaffold("fresh", tmp_path, template)
    text = graph.read_text("utf-8")
    assert server.faults(text, tmp_path) == []
    (fault,) = server.faults(text.replace("unroll_steps", "unrol_steps", 1), tmp_path)
    assert fault[0] == "unrol_steps"
