"""Whatever is read, the answer is a spec or a GraphError, and what is written reads the same."""

import math
import string
import time
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from language_cases import GRAPH, variables

from mlograph.errors import GraphError
from mlograph.language import dump, loads, parse
from mlograph.language.document import read_document
from mlograph.language.emit import emit
from mlograph.language.interpolation import escape
from mlograph.language.methods import METHODS
from mlograph.language.scalars import needs_quotes, read_plain
from mlograph.language.text import from_string
from mlograph.language.tree import plain

quick = settings(max_examples=150, deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30) | st.sampled_from(
    [
        "",
        " ",
        "~",
        "null",
        "on",
        "1e-3",
        "0o17",
        "- a",
        "a: b",
        "#",
        "<<",
        "${a}",
        "$${a}",
        "|",
        "&a",
    ]
)
scalars = (
    st.none() | st.booleans() | st.integers(-(10**90), 10**90) | st.floats(allow_nan=False) | texts
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)


def same(left: object, right: object) -> bool:
    """Equality that also tells 1, 1.0 and True, and 0.0 and -0.0, apart."""
    return repr(left) == repr(right)


@quick
@given(values)
def test_what_is_emitted_reads_as_the_same_values(value: Any):
    root = read_document(from_string(emit({"key": value}), "emitted")).root
    assert root is not None
    assert same(plain(root), {"key": value})


@quick
@given(st.text(max_size=40) | st.from_regex(r"[-+.0-9eExo_:]{1,12}", fullmatch=True))
def test_plain_texts_that_need_no_quotes_are_texts(text: str):
    if not needs_quotes(text):
        assert read_plain(text) == text


@quick
@given(st.floats())
def test_floats_are_read_as_they_were(number: float):
    found = read_plain(emit(number).split("\n")[0])
    assert isinstance(found, float)
    assert found == number or (math.isnan(found) and math.isnan(number))


@quick
@given(texts)
def test_escaped_texts_come_through_interpolation(text: str):
    written = emit({"a": escape(text)})
    assert variables(written) == {"a": text}


names = st.text(string.ascii_lowercase, min_size=1, max_size=6).map("p_".__add__)
arguments = st.dictionaries(
    texts.filter(lambda t: "${" not in t and t not in ("_target_", "copy", "every")),
    values.filter(lambda v: "${" not in repr(v) and "_target_" not in repr(v)),
    max_size=3,
)
components = st.builds(lambda target, args: {**args, "_target_": target}, names, arguments)
counts = st.integers(1, 9)
problems = st.fixed_dictionaries(
    {
        "module": components | st.builds(lambda n: {"copy": n}, names),
        "loss": components | st.lists(components, min_size=1, max_size=3),
        "optimizer": components | names,
    },
    optional={
        "data": components | names.map("env.".__add__) | st.dictionaries(names, components),
        "unroll_steps": counts,
        "gradient_clipping": st.floats(0.1, 10) | counts,
        "hypergradient": st.sampled_from(sorted(METHODS)),
        "freeze": st.lists(texts, max_size=3),
        "precision": st.sampled_from(["float32", "float64"]),
    },
)
graphs = st.fixed_dictionaries(
    {"mlograph": st.just(1), "name": names,
     "problems": st.dictionaries(names, problems, min_size=1, max_size=3)},
    optional={
        "description": texts,
        "vars": arguments,
        "env": components,
        "edges": st.lists(
            st.builds(lambda k, a: {k: f"{a} -> b"}, st.sampled_from(["u2l", "l2u"]), names),
            max_size=3,
        ),
        "engine": st.fixed_dictionaries(
            {}, optional={"seed": st.integers(0, 10**12), "validate": components, "steps": counts}
        ),
    },
)  # fmt: skip


@settings(max_examples=80, deadline=None)
@given(graphs)
def test_dumped_specs_read_as_the_same_specs(data: dict[str, Any]):
    spec = parse(data)
    loaded = loads(dump(spec))
    assert loaded.spec == spec
    assert loads(loaded.resolved).spec == spec


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60) | st.text("{}[]:-&*!|>'\"%@`,#?$ab1.~\n \t", max_size=60))
def test_any_text_gives_a_spec_or_an_error(text: str):
    try:
        loads(text)
    except GraphError as error:
        assert str(error)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_a_graph_with_a_part_replaced_gives_a_spec_or_located_errors(data: st.DataObject):
    start = data.draw(st.integers(0, len(GRAPH)))
    end = data.draw(st.integers(start, min(len(GRAPH), start + 20)))
    middle = data.draw(texts | st.text("{}[]:-&*!'\"${}. ab1\n", max_size=8))
    try:
        loads(GRAPH[:start] + middle + GRAPH[end:], "g.yaml")
    except GraphError as error:
        for fault in error.faults:
            assert fault.location is not None
            assert fault.location.line >= 1
            assert fault.location.column >= 1


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=30) | st.text("+~abc.=[]0{}$:!&* engine.seed", max_size=30))
def test_any_override_gives_a_spec_or_an_error(text: str):
    start = time.process_time()
    try:
        loads(GRAPH, overrides=[text])
    except GraphError as error:
        assert str(error)
    assert time.process_time() - start < 2


@settings(max_examples=150, deadline=None)
@given(values, st.sampled_from(["vars", "problems", "edges", "engine", "env", "name", "mlograph"]))
def test_any_value_anywhere_gives_a_spec_or_an_error(value: Any, key: str):
    data = {
        "mlograph": 1,
        "name": "x",
        "problems": {"a": {"module": value, "loss": value}},
        key: value,
    }
    try:
        parse(data)
    except GraphError as error:
        assert "pydantic" not in str(error)
        assert "Input should" not in str(error)
