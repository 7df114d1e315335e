"""What is said about a graph of the wrong form."""

from typing import Any

import pytest
from language_cases import GRAPH, changed, complaints

from mlograph.errors import Fault, GraphError, Path
from mlograph.language import loads, parse
from mlograph.language.methods import METHODS
from mlograph.language.spec import RESERVED_NAMES

LOWER = "problems.lower"
FAULTS = [
    # unknown and missing keys
    ("unroll_steps: 5", "unrol_steps: 5",
     f"13:5: {LOWER}.unrol_steps: unknown key (did you mean 'unroll_steps'?)"),
    ("iterations: 3", "iteration: 3",
     f"14:33: {LOWER}.hypergradient.iteration: unknown key (did you mean 'iterations'?)"),
    ("iterations: 3", "alpha: 3", f"14:33: {LOWER}.hypergradient.alpha: unknown key"
     " (an option of 'neumann', not of 'cg')"),
    ("name: tiny", "description: x", "1:1: name: missing key"),
    ("    loss: losses.lower\n", "", f"9:3: {LOWER}.loss: missing key"),
    ("method: cg, ", "", f"14:5: {LOWER}.hypergradient.method: missing key"),
    ("{_target_: torch.optim.Adam, lr: 1e-3}", "{lr: 1e-3}",
     "8:5: problems.upper.optimizer._target_: missing key"),
    ("_target_: torch.optim.Adam", "_taget_: torch.optim.Adam",
     "8:5: problems.upper.optimizer._target_: missing key (is '_taget_' a slip for '_target_'?)"),
    ("{copy: upper}", "{cpy: upper}",
     "10:5: problems.lower.module._target_: missing key (is 'cpy' a slip for 'copy'?)"),
    ("{copy: upper}", "{copy: upper, deep: true}",
     "10:27: problems.lower.module.deep: unknown key (known: _target_, copy)"),
    # wrong types
    ("unroll_steps: 5", "unroll_steps: five",
     f"13:19: {LOWER}.unroll_steps: expected an integer ≥ 1, got 'five'"),
    ("unroll_steps: 5", "unroll_steps: 0",
     f"13:19: {LOWER}.unroll_steps: expected an integer ≥ 1, got 0"),
    ("unroll_steps: 5", "unroll_steps: 1.5",
     f"13:19: {LOWER}.unroll_steps: expected an integer ≥ 1, got 1.5"),
    ("unroll_steps: 5", "unroll_steps: true",
     f"13:19: {LOWER}.unroll_steps: expected an integer ≥ 1, got true"),
    ("unroll_steps: 5", "unroll_steps: '5'",
     f"13:19: {LOWER}.unroll_steps: expected an integer ≥ 1, got '5'"),
    ("unroll_steps: 5", "unroll_steps:",
     f"13:5: {LOWER}.unroll_steps: expected an integer ≥ 1, got nothing"),
    ("unroll_steps: 5", "unroll_steps: [5]",
     f"13:19: {LOWER}.unroll_steps: expected an integer ≥ 1, got a list"),
    ("unroll_steps: 5", "warmup_steps: -1",
     f"13:19: {LOWER}.warmup_steps: expected an integer ≥ 0, got -1"),
    ("unroll_steps: 5", "gradient_clipping: 0",
     f"13:24: {LOWER}.gradient_clipping: expected a number > 0, got 0"),
    ("unroll_steps: 5", "gradient_clipping: '1'",
     f"13:24: {LOWER}.gradient_clipping: expected a number > 0, got '1'"),
    ("unroll_steps: 5", "precision: float16",
     f"13:16: {LOWER}.precision: expected 'float32', 'float64', 'bf16' or 'fp16',"
     " got 'float16'"),
    ("unroll_steps: 5", "unequal_unroll: yes",
     f"13:21: {LOWER}.unequal_unroll: expected true or false, got 'yes'"),
    ("unroll_steps: 5", "start_from: 3", f"13:17: {LOWER}.start_from: expected a text, got 3"),
    ("unroll_steps: 5", "callbacks: {after_updat: f}",
     f"13:17: {LOWER}.callbacks.after_updat: unknown key (did you mean 'after_update'?)"),
    ("unroll_steps: 5", "freeze: 3", f"13:13: {LOWER}.freeze: expected a text or a list, got 3"),
    ("iterations: 3", "iterations: three",
     f"14:45: {LOWER}.hypergradient.iterations: expected an integer ≥ 1, got 'three'"),
    ("iterations: 3", "tol: .nan",
     f"14:38: {LOWER}.hypergradient.tol: expected a finite number, got .nan"),
    ("iterations: 3", "warm_start: on",
     f"14:45: {LOWER}.hypergradient.warm_start: expected true or false, got 'on'"),
    ("{method: cg, iterations: 3}", "{method: neumann, alpha: fast}",
     f"14:45: {LOWER}.hypergradient.alpha: expected a number > 0 or 'auto', got 'fast'"),
    ("loss: losses.lower", "loss: []", f"11:11: {LOWER}.loss: expected at least one, got an empty"
     " list"),
    ("loss: losses.lower", "loss: [f, 3]",
     f"11:15: {LOWER}.loss[1]: expected an import path, got 3"),
    ("loss: losses.lower", "loss: {_target_: 3}",
     f"11:22: {LOWER}.loss._target_: expected an import path, got 3"),
    ("loss: losses.lower", "loss: {_target_: f, x: [{_target_: ''}]}",
     f"11:40: {LOWER}.loss.x[0]._target_: expected an import path, got ''"),
    ("unroll_steps: 5", "data: {train: 3}",
     f"13:19: {LOWER}.data.train: expected an import path, got 3"),
    ("unroll_steps: 5", "data: [a]", f"13:11: {LOWER}.data: expected an import path, got a list"),
    # methods
    ("method: cg", "method: cgg",
     f"14:29: {LOWER}.hypergradient.method: unknown hypergradient method 'cgg'"
     " (did you mean 'cg'?)"),
    ("{method: cg, iterations: 3}", "newman",
     f"14:20: {LOWER}.hypergradient: unknown hypergradient method 'newman'"
     " (did you mean 'neumann'?)"),
    ("{method: cg, iterations: 3}", "3",
     f"14:20: {LOWER}.hypergradient: expected {', '.join(map(repr, METHODS))} or a mapping, got 3"),
    # edges
    ("u2l: upper", "u2x: upper", "16:5: edges[0].u2x: unknown kind of edge 'u2x'"
     " (did you mean 'u2l'?)"),
    ("u2l: upper ->", "u2l: upper -",
     "16:10: edges[0].u2l: expected two names with '->' between them, got 'upper - lower'"),
    ("u2l: upper -> lower", "u2l: a -> b -> c",
     "16:10: edges[0].u2l: expected two names with '->' between them, got 'a -> b -> c'"),
    ("u2l: upper -> lower", "u2l: ->",
     "16:10: edges[0].u2l: expected two names with '->' between them, got '->'"),
    ("u2l: upper -> lower", "upper -> lower",
     "16:5: edges[0]: expected 'u2l: upper -> lower' or 'l2u: lower -> upper',"
     " got 'upper -> lower'"),
    ("  - u2l: upper -> lower\n  - l2u: lower -> upper\n", "  u2l: upper -> lower\n",
     "16:3: edges: expected a list, got a mapping"),
    # the graph
    ("mlograph: 1", "mlograph: 2",
     "1:11: mlograph: format version 2 is not known (write 'mlograph: 1')"),
    ("mlograph: 1", "mlograph: true",
     "1:11: mlograph: format version true is not known (write 'mlograph: 1')"),
    ("mlograph: 1", "mlograph: '1'",
     "1:11: mlograph: format version '1' is not known (write 'mlograph: 1')"),
    ("name: tiny", "name: a b",
     "2:7: name: expected letters, digits, '_', '.' and '-', got 'a b'"),
    ("name: tiny", "name: 3", "2:7: name: expected a text, got 3"),
    ("edges:", "engine: 3\nedges:", "15:9: engine: expected a mapping, got 3"),
    ("edges:", "env:\nengine: {validate: {every: 3}}\nedges:",
     "16:10: engine.validate._target_: missing key"),
    ("edges:", "engine: {validate: {_target_: V, every: 0}}\nedges:",
     "15:41: engine.validate.every: expected an integer ≥ 1, got 0"),
    ("edges:", "env: {_target_: E, step_every: epoch, source: 1}\nedges:",
     "15:32: env.step_every: expected 'loop' or 'step', got 'epoch'"),
    ("edges:", "env: {_target_: 1, source: 1}\nedges:",
     "15:17: env._target_: expected an import path, got 1"),
    ("edges:", "env: {source: 1}\nedges:", "15:1: env._target_: missing key"),
    ("edges:", "engine: {loggers: [a, 3]}\nedges:",
     "15:23: engine.loggers[1]: expected an import path, got 3"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "expected"), FAULTS)
def test_faults_are_said_in_plain_words_where_they_are(old: str, new: str, expected: str):
    assert complaints(changed(old, new)) == [f"g.yaml:{expected}"]


@pytest.mark.parametrize("name", sorted(RESERVED_NAMES))
def test_reserved_names_of_problems(name: str):
    text = GRAPH + f"  - l2u: x -> {name}\n"
    text = text.replace(
        "problems:\n", f"problems:\n  {name}: {{module: m, loss: l, optimizer: o}}\n"
    )
    assert complaints(text) == [
        f"g.yaml:5:3: problems.{name}: a problem cannot have this name"
        " (reserved: batch, engine, env, loss, metrics, problem, self, step, vars)"
    ]


@pytest.mark.parametrize("name", ["a-b", "a.b", "1st", "é", "a b", '"a\\n"'])
def test_names_of_problems_are_identifiers(name: str):
    key = f"{name}: {{module: m, loss: l, optimizer: o}}"
    (complaint,) = complaints(GRAPH.replace("problems:\n", f"problems:\n  {key}\n"))
    assert complaint.startswith("g.yaml:5:3: problems.")


def test_keywords_are_no_names():
    text = GRAPH.replace("  upper:\n", "  lambda:\n")
    assert complaints(text) == [
        "g.yaml:5:3: problems.lambda: a problem cannot have this name (it is a keyword of Python,"
        " and no loss could have an argument of this name)"
    ]


def test_all_faults_are_reported_at_once_in_the_order_of_the_text():
    text = changed("mlograph: 1", "mlograph: 3").replace("rate: 0.1", "rate: '${x}', rate: 2")
    text = text.replace("cg", "cgg").replace("l2u: lower ->", "l2u: lower").replace("lr:", "[1]:")
    text += "engin: {}\n"
    assert complaints(text, ["engine.sed=1"]) == [
        "g.yaml:1:11: mlograph: format version 3 is not known (write 'mlograph: 1')",
        "g.yaml:3:14: vars.rate: '${x}' refers to nothing in this graph"
        " (known: edges, engin, mlograph, name, problems, vars)",
        "g.yaml:3:22: vars.rate: duplicate key (it stands first in line 3)",
        "g.yaml:8:45: problems.upper.optimizer: a list cannot be a key"
        ' (quote references: "${a.b}")',
        "g.yaml:14:29: problems.lower.hypergradient.method: unknown hypergradient method 'cgg'"
        " (did you mean 'cg'?)",
        "g.yaml:17:10: edges[1].l2u: expected two names with '->' between them, got 'lower upper'",
        "g.yaml:18:1: engin: unknown key (did you mean 'engine'?)",
        "overrides:1:8: engine.sed: unknown key (did you mean 'seed'?)",
    ]


def test_an_option_of_other_methods_is_told_with_their_names():
    (told,) = complaints(changed("method: cg", "method: unroll"))
    assert told.startswith(f"g.yaml:14:37: {LOWER}.hypergradient.iterations: unknown key (an")
    assert "an option of 'cg', " in told
    assert "'neumann'" in told
    assert told.endswith(", not of 'unroll')")


def test_a_graph_without_anything():
    assert complaints("{}") == [
        "g.yaml:1:1: mlograph: missing key",
        "g.yaml:1:1: name: missing key",
        "g.yaml:1:1: problems: missing key",
    ]


PATHS = [
    (("problems", "lower", "unroll_steps"), False, "g.yaml:13:19"),
    (("problems", "lower", "unroll_steps"), True, "g.yaml:13:5"),
    (("problems", "lower", "nothing"), False, "g.yaml:9:3"),
    (("problems", "lower", "nothing", "at", "all"), True, "g.yaml:9:3"),
    (("problems", "lower"), False, "g.yaml:10:5"),
    (("edges", 1), False, "g.yaml:17:5"),
    (("edges", 1, "l2u"), False, "g.yaml:17:10"),
    (("edges", 9), False, "g.yaml:15:1"),
    (("problems", "upper", "loss", 0, "model"), False, "g.yaml:7:43"),
    (("engine", "steps"), False, "g.yaml:1:1"),
    ((), False, "g.yaml:1:1"),
]


@pytest.mark.parametrize(("path", "on_key", "place"), PATHS)
def test_sources_locate_faults_at_the_nearest_place(path: Path, on_key: bool, place: str):
    source = loads(GRAPH, "g.yaml").source
    fault = source.locate(Fault(path, "wrong", on_key=on_key))
    assert str(fault.location) == place
    assert source.locate(fault) is fault


BIG = 10**5000


def test_graphs_made_in_python_have_the_same_faults_without_places():
    with pytest.raises(GraphError) as caught:
        parse(
            {"mlograph": 1, "name": "x", "problems": {"a-b": {"unroll_steps": -(10**5000)}}, 5: 6}
        )
    assert [str(fault) for fault in caught.value.faults] == [
        "problems.a-b: a problem's name has letters, digits and '_' and begins with no digit",
        "problems.a-b.module: missing key",
        "problems.a-b.loss: missing key",
        "problems.a-b.optimizer: missing key",
        "problems.a-b.unroll_steps: expected an integer ≥ 1, got a huge integer",
        "the key 5 is not a text",
    ]


@pytest.mark.parametrize("data", [None, [], 3, "text"])
def test_a_python_graph_is_a_mapping(data: Any):
    with pytest.raises(GraphError, match="expected a mapping, got"):
        parse(data)


def test_every_method_is_known_by_its_name():
    for name, method in METHODS.items():
        text = changed("{method: cg, iterations: 3}", name)
        assert loads(text).spec.problems["lower"].hypergradient == method()
