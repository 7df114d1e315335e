import time

import pytest
from language_cases import GRAPH, changed, complaints, variables

from mlograph.errors import GraphError
from mlograph.language import loads

RESOLVED = [
    ("a: 1\nb: ${vars.a}", 1),
    ('a: 1\nb: "${vars.a}"', 1),
    ("a: 0.5\nb: ${vars.a}", 0.5),
    ("a: true\nb: ${vars.a}", True),
    ("a: ~\nb: ${vars.a}", None),
    ("a: '1'\nb: ${vars.a}", "1"),
    ("a: 1\nb: x-${vars.a}-y", "x-1-y"),
    ("a: true\nb: x ${vars.a}", "x true"),
    ("a: 1e-3\nb: ${vars.a} ", 0.001),
    ("a: 1e-3\nb: '${vars.a} '", "0.001 "),
    ("a: ~\nb: '<${vars.a}>'", "<null>"),
    ("a: 1\nb: ${vars.c}\nc: ${vars.a}", 1),
    ("a: [1, [2]]\nb: ${vars.a.1.0}", 2),
    ("a: [1, [2]]\nb: ${vars.a[1][0]}", 2),
    ("a: {'0': x}\nb: ${vars.a.0}", "x"),
    ("b: ${name}", "tiny"),
    ("b: ${edges.0.u2l}", "upper -> lower"),
    ("b: $${vars.a}", "${vars.a}"),
    ("b: x $${ y $$${ z", "x ${ y $${ z"),
    ("a: 1\nb: $${vars.a} ${vars.a}", "${vars.a} 1"),
    ("b: $5 $ {a} $a", "$5 $ {a} $a"),
    ("a: 1\nb: |\n  ${vars.a}\n  z", "1\nz\n"),
]


@pytest.mark.parametrize(("block", "value"), RESOLVED)
def test_references_are_replaced(block: str, value: object):
    found = variables(block)["b"]
    assert found == value
    assert type(found) is type(value)


REFUSED = [
    ("${vars.rat}", "'${vars.rat}' refers to nothing in this graph (did you mean 'rate'?)"),
    ("${var.rate}", "'${var.rate}' refers to nothing in this graph (did you mean 'vars'?)"),
    ("${vars.list.2}", "'${vars.list.2}' refers to nothing in this graph"
     " (known: 0, 1)"),
    ("${name.x}", "'${name.x}' refers to nothing in this graph"),
    ("${vars.list}", "'${vars.list}' refers to a list, not to a single value"),
    ("${problems}", "'${problems}' refers to a mapping, not to a single value"),
    ("a ${b", "'${' without its '}' (a plain '${' is written '$${')"),
    ("${}", "'${}' is no reference (write ${a.b}, or $${ for a plain '${')"),
    ("${a b}", "'${a b}' is no reference (write ${a.b}, or $${ for a plain '${')"),
    ("${a..b}", "'${a..b}' is no reference (write ${a.b}, or $${ for a plain '${')"),
    ("${oc.env:X}", "'${oc.env:X}' is no reference (write ${a.b}, or $${ for a plain '${')"),
    ("${env:}", "'${env:}' names no environment variable"),
    ("${env:A-B}", "'${env:A-B}' names no environment variable"),
    ("${env:MLOGRAPH_UNSET}", "the environment variable 'MLOGRAPH_UNSET' is not set"
     " (a default is written ${env:MLOGRAPH_UNSET,default})"),
    ("${vars.rate}", "references go round in a circle: vars.rate -> vars.rate"),
]  # fmt: skip


@pytest.mark.parametrize(("reference", "message"), REFUSED)
def test_references_that_lead_nowhere(reference: str, message: str):
    assert complaints(changed("rate: 0.1", f"rate: '{reference}'")) == [
        f"g.yaml:3:14: vars.rate: {message}"
    ]


def test_a_circle_is_reported_once_with_its_path():
    text = changed("rate: 0.1", "a: '${vars.b}', b: '${vars.c}', c: 'x${vars.a}', d: '${vars.a}'")
    assert complaints(text) == [
        "g.yaml:3:43: vars.c: references go round in a circle: vars.a -> vars.b -> vars.c -> vars.a"
    ]


def test_a_failed_reference_is_not_also_of_the_wrong_type():
    assert complaints(changed("unroll_steps: 5", "unroll_steps: ${vars.x}")) == [
        "g.yaml:13:19: problems.lower.unroll_steps: '${vars.x}' refers to nothing in this graph"
        " (known: list, rate)"
    ]


def test_a_wrong_type_is_shown_where_the_reference_stands():
    assert complaints(changed("unroll_steps: 5", "unroll_steps: ${vars.rate}")) == [
        "g.yaml:13:19: problems.lower.unroll_steps: expected an integer ≥ 1, got 0.1"
    ]


def test_references_cannot_stand_in_keys():
    assert complaints(changed("rate: 0.1", "'${name}': 1")) == [
        "g.yaml:3:8: vars.${name}: references cannot stand in keys"
    ]


@pytest.mark.parametrize("length", [64, 65])
@pytest.mark.parametrize("forwards", [True, False])
def test_chains_are_bounded_in_either_order(length: int, forwards: bool):
    links = [f"a{i}: ${{vars.a{i + 1}}}" for i in range(length)]
    block = "\n".join([*(links if forwards else reversed(links)), f"a{length}: end"])
    if length == 64:
        assert variables(block)["a0"] == "end"
    else:
        with pytest.raises(GraphError, match="a chain of more than 64 references"):
            variables(block)


def test_a_chain_of_any_length_is_refused_and_not_followed():
    text = "\n".join(f"a{i}: ${{vars.a{i + 1}}}" for i in range(5000))
    with pytest.raises(GraphError, match="a chain of more than 64 references"):
        variables(f"{text}\na5000: end")


@pytest.mark.parametrize(
    "block",
    [
        "\n".join(["a0: xxxxxxxx", *(f"a{i}: ${{vars.a{i - 1}}}${{vars.a{i - 1}}}"
                                     for i in range(1, 60))]),
        f"a: {'x' * 10_000}\n" + "\n".join(f"b{i}: ${{vars.a}}" for i in range(200)),
        f"a: {'x' * 10_000}\nb: {'${vars.a}' * 200}",
    ],
)  # fmt: skip
def test_references_do_not_blow_a_graph_up(block: str):
    start = time.process_time()
    with pytest.raises(GraphError, match="references make this graph's text too long"):
        variables(block)
    assert time.process_time() - start < 2


def test_many_unknown_references_are_refused_quickly():
    start = time.process_time()
    with pytest.raises(GraphError, match="more faults"):
        variables("\n".join(f"a{i}: ${{vars.b{i}}}" for i in range(5000)))
    assert time.process_time() - start < 5


ENVIRONMENT = [
    ("${env:MLO_TEXT}", "secret"),
    ("${env:MLO_NUMBER}", 12),
    ("${env:MLO_EMPTY}", ""),
    ("${env:MLO_UNSET,7}", 7),
    ("${env:MLO_UNSET,a, b}", "a, b"),
    ("${env:MLO_UNSET,}", ""),
    ("${env:MLO_TEXT,default}", "secret"),
    ("n=${env:MLO_NUMBER}", "n=12"),
    ("${env:MLO_REFERENCE}", "${name}"),
    ("${env:MLO_LONG}", "9" * 101),
]


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLO_TEXT", "secret")
    monkeypatch.setenv("MLO_NUMBER", "12")
    monkeypatch.setenv("MLO_EMPTY", "")
    monkeypatch.setenv("MLO_REFERENCE", "${name}")
    monkeypatch.setenv("MLO_LONG", "9" * 101)
    monkeypatch.delenv("MLO_UNSET", raising=False)


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(("text", "value"), ENVIRONMENT)
def test_the_environment_is_read_and_masked(text: str, value: object):
    loaded = loads(changed("rate: 0.1", f"rate: '{text}'"))
    assert loaded.spec.vars["rate"] == value
    assert text in loaded.resolved
    assert loads(loaded.resolved).spec == loaded.spec  # in the same environment


@pytest.mark.usefixtures("environment")
def test_masks_follow_references_through_texts():
    text = changed("rate: 0.1", "a: '${env:MLO_TEXT}', b: '<${vars.a}|${name}|$${x}>'")
    loaded = loads(text)
    assert loaded.spec.vars["b"] == "<secret|tiny|${x}>"
    assert "<${env:MLO_TEXT}|tiny|$${x}>" in loaded.resolved
    assert "secret" not in loaded.resolved


@pytest.mark.usefixtures("environment")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("unroll_steps: 5", "unroll_steps: ${env:MLO_TEXT}"),
        ("method: cg", "method: '${env:MLO_TEXT}'"),
        ("hypergradient: {method: cg, iterations: 3}", "hypergradient: ${env:MLO_TEXT}"),
        ("u2l: upper -> lower", "u2l: '${env:MLO_TEXT}'"),
        ("name: tiny", "name: a ${env:MLO_TEXT}"),
    ],
)
def test_errors_do_not_show_the_environment(old: str, new: str):
    (complaint,) = complaints(changed(old, new))
    assert "secret" not in complaint
    assert "${env:MLO_TEXT}" in complaint


def test_the_resolved_text_says_the_same_without_references():
    text = changed("unroll_steps: 5", "unroll_steps: ${vars.list.1}") + "description: $${a} ${name}"
    loaded = loads(text)
    assert loaded.spec.description == "${a} tiny"
    assert "description: $${a} tiny" in loaded.resolved
    assert loads(loaded.resolved).spec == loaded.spec
    assert GRAPH.splitlines()[0] in loaded.resolved
