import pytest
from language_cases import GRAPH, complaints

from mlograph.errors import Fault, GraphError
from mlograph.language import loads

# override → a path in the spec as it is written again, and the value there
APPLIED = [
    ("name=other", ("name",), "other"),
    ("problems.lower.unroll_steps=8", ("problems", "lower", "unroll_steps"), 8),
    ("problems.upper.unroll_steps=8", ("problems", "upper", "unroll_steps"), 8),
    ("engine.seed=3", ("engine", "seed"), 3),
    ("+engine.seed=3", ("engine", "seed"), 3),
    ("engine.early_stopping.metric=loss", ("engine", "early_stopping", "metric"), "loss"),
    ("vars.rate=1e-3", ("vars", "rate"), 0.001),
    ("vars.rate=on", ("vars", "rate"), "on"),
    ("vars.rate='1'", ("vars", "rate"), "1"),
    ("vars.rate=", ("vars", "rate"), None),
    ("vars.rate=a=b", ("vars", "rate"), "a=b"),
    ("vars.rate=[1, {a: b}]", ("vars", "rate"), [1, {"a": "b"}]),
    ("vars.rate=${problems.lower.unroll_steps}", ("vars", "rate"), 5),
    ("vars.list.0=7", ("vars", "list"), [7, 2]),
    ("vars.list[1]=7", ("vars", "list"), [1, 7]),
    ("+vars.list[2]=7", ("vars", "list"), [1, 2, 7]),
    ("~vars.list[0]", ("vars", "list"), [2]),
    ("+vars.new.deep=1", ("vars", "new"), {"deep": 1}),
    ("~vars.rate", ("vars",), {"list": [1, 2]}),
    ("edges.0={u2l: upper -> lower}", ("edges", 0, "source"), "upper"),
    ("problems.upper.optimizer.lr=1", ("problems", "upper", "optimizer", "lr"), 1),
    ("+problems.upper.optimizer.betas=[0, 1]", ("problems", "upper", "optimizer", "betas"), [0, 1]),
    # a bare text is opened where it is short for a mapping
    ("+problems.lower.optimizer.lr=1", ("problems", "lower", "optimizer", "lr"), 1),
    ("problems.upper.hypergradient.iterations=7",
     ("problems", "upper", "hypergradient", "iterations"), 7),
    ("problems.lower.hypergradient=darts", ("problems", "lower", "hypergradient", "method"),
     "darts"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "path", "value"), APPLIED)
def test_overrides_that_are_applied(text: str, path: tuple[str | int, ...], value: object):
    found: object = loads(GRAPH, overrides=[text]).spec.model_dump(by_alias=True)
    for step in path:
        if step == "source":
            found = str(found).split("'")[3].split(" ")[0]
        else:
            assert isinstance(found, (dict, list, tuple))
            found = found[step]  # type: ignore[index,call-overload]
    assert found == value


REFUSED = [
    ("problems.lower.unrol_steps=8",
     "overrides:1:16: problems.lower.unrol_steps: unknown key (did you mean 'unroll_steps'?)"),
    ("problems.lowr.unroll_steps=8",
     "overrides:1:10: problems.lowr: the graph has no such key (did you mean 'lower'?"
     " to add a new key, write +problems.lowr.unroll_steps=8)"),
    ("vars.rat=1", "overrides:1:6: vars.rat: the graph has no such key (did you mean 'rate'?"
     " to add a new key, write +vars.rat=1)"),
    ("problems.upper.optimizer.momentum=1",
     "overrides:1:26: problems.upper.optimizer.momentum: the graph has no such key"
     " (to add a new key, write +problems.upper.optimizer.momentum=1)"),
    ("problems.lower.hypergradient.alpha=1",
     "overrides:1:30: problems.lower.hypergradient.alpha: unknown key"
     " (an option of 'neumann', not of 'cg')"),
    ("problems.upper.hypergradient.alpha=1",
     "overrides:1:30: problems.upper.hypergradient.alpha: unknown key"
     " (an option of 'neumann', not of 'cg')"),
    ("problems.lower.hypergradient.iteration=1",
     "overrides:1:30: problems.lower.hypergradient.iteration: unknown key"
     " (did you mean 'iterations'?)"),
    ("+name=x", "overrides:1:2: name: the graph has this key already (to change it, write name=x)"),
    ("+vars.list[0]=1", "overrides:1:12: vars.list[0]: the graph has this key already"
     " (to change it, write vars.list[0]=1)"),
    ("~vars.rat", "overrides:1:7: vars.rat: there is nothing to remove (did you mean 'rate'?)"),
    ("~engine.seed", "overrides:1:2: engine: there is nothing to remove"
     " (known: edges, mlograph, name, problems, vars)"),
    ("~name=x", "overrides:1:6: name: what is removed is given no value"),
    ("name", "overrides:1:5: name: no value is given (write name=VALUE, or ~name to remove it)"),
    ("+a.b", "overrides:1:5: a.b: no value is given (write +a.b=VALUE, or ~a.b to remove it)"),
    ("", "overrides:1:1: expected a path such as engine.seed"),
    ("=3", "overrides:1:1: expected a path such as engine.seed"),
    ("a..b=3", "overrides:1:2: expected a path such as engine.seed"),
    ("a[x]=3", "overrides:1:2: expected a path such as engine.seed"),
    ("a b=3", "overrides:1:2: expected a path such as engine.seed"),
    (".".join(["a"] * 65) + "=3", "overrides:1:1: a path of more than 64 steps"),
    ("name=a\nb", "overrides:1:7: an override is one line of printable text"),
    ("name=\x1b[0m", "overrides:1:6: an override is one line of printable text"),
    ("name.x=1", "overrides:1:6: name.x: 'name' is a single value, not a mapping"),
    ("vars.list.x=1", "overrides:1:11: vars.list.x: 'vars.list' is a list of 2 (indices: 0 to 1)"),
    ("edges.7.u2l=a", "overrides:1:7: edges[7]: 'edges' is a list of 2 (indices: 0 to 1)"),
    ("+edges[7]={}", "overrides:1:8: edges[7]: 'edges' is a list of 2"
     " (to add to it, write edges[2])"),
    ("name=[", "overrides:1:7: name: not YAML: did not find expected node content"
     " while parsing a flow node"),
    ("name=!x y", "overrides:1:6: name: tags such as '!x' are not used in graph files (remove it)"),
    ("vars.rate={a: 1, a: 2}",
     "overrides:1:18: vars.rate.a: duplicate key (it stands first in line 1)"),
    ("vars.rate=${vars.rat}", "overrides:1:11: vars.rate: '${vars.rat}' refers to nothing in this"
     " graph (did you mean 'rate'?)"),
    ("engine.seed=one", "overrides:1:13: engine.seed: expected an integer ≥ 0, got 'one'"),
    ("engine.validate.every=5", "overrides:1:8: engine.validate._target_: missing key"),
    ("include=a.yaml", "overrides:1:1: include: what a file includes cannot be overridden"),
    ("+problems.lower.typo=1",
     "overrides:1:17: problems.lower.typo: unknown key"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "message"), REFUSED)
def test_overrides_that_are_refused(text: str, message: str):
    assert complaints(GRAPH, [text]) == [message]


def test_another_method_leaves_behind_the_options_of_the_one_before():
    (told,) = complaints(GRAPH, ["problems.lower.hypergradient.method=unroll"])
    assert told.startswith("g.yaml:14:33: problems.lower.hypergradient.iterations: unknown key")
    assert told.endswith(
        "not of 'unroll'; to drop the options of another method, write"
        " problems.lower.hypergradient=unroll)"
    )


def test_overrides_are_lines_of_one_text_and_all_reported():
    with pytest.raises(GraphError) as caught:
        loads(GRAPH, overrides=["name=x", "engine.sed=1", "+vars.b=1", "~vars.c"])
    assert str(caught.value) == (
        "overrides:2:8: engine.sed: unknown key (did you mean 'seed'?)\n"
        "    engine.sed=1\n"
        "           ^\n"
        "overrides:4:7: vars.c: there is nothing to remove (known: b, list, rate)\n"
        "    ~vars.c\n"
        "          ^"
    )


def test_later_overrides_see_earlier_ones():
    spec = loads(GRAPH, overrides=["+vars.a=1", "vars.a=2", "~vars.rate", "+vars.rate=3"]).spec
    assert spec.vars == {"list": [1, 2], "a": 2, "rate": 3}


def test_references_see_overrides():
    text = GRAPH.replace("steps: 5", "steps: ${vars.list.1}")
    assert loads(text, overrides=["vars.list.1=9"]).spec.problems["lower"].unroll_steps == 9


def test_overridden_values_are_located_in_the_override():
    source = loads(GRAPH, overrides=["engine.seed=3"]).source
    assert str(source.locate(Fault(("engine", "seed"), "m")).location) == "overrides:1:13"
