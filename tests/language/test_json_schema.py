import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from language_cases import GRAPH

from mlograph import language
from mlograph.errors import GraphError
from mlograph.language import json_schema, loads, schema_text
from mlograph.language.document import read_document
from mlograph.language.methods import METHODS
from mlograph.language.text import from_string
from mlograph.language.tree import plain

COMMITTED = Path(language.__file__).with_name("graph.schema.json")
WRITE = "from mlograph.language import schema_text; print(schema_text(), end='')"


def fields(schema: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        yield from schema.get("properties", {}).items()
    for inner in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(inner, (dict, list)):
            yield from fields(inner)


def test_the_committed_schema_is_up_to_date():
    assert COMMITTED.read_text(encoding="utf-8") == schema_text(), (
        f"write it again: python -c {WRITE!r} > {COMMITTED.name}"
    )


def test_every_field_has_a_description():
    assert json_schema()["description"]
    silent = {name for name, field in fields(json_schema()) if not field.get("description")}
    assert silent == set()


def test_every_reference_within_the_schema_leads_somewhere():
    text = schema_text()
    names = set(re.findall(r'"\$ref": "#/\$defs/(\w+)"', text))
    assert names <= set(json.loads(text)["$defs"])


def test_methods_are_told_apart_by_their_names():
    definitions = json_schema()["$defs"]
    choices = definitions["ProblemSpec"]["properties"]["hypergradient"]["anyOf"]
    assert choices[0]["anyOf"][0]["enum"] == list(METHODS)
    assert choices[1]["discriminator"]["propertyName"] == "method"
    assert [item["$ref"].rpartition("/")[2] for item in choices[1]["oneOf"]] == [
        method.__name__ for method in METHODS.values()
    ]


ACCEPTED = [
    ("unroll_steps: 5", "unroll_steps: ${vars.a}"),
    ("iterations: 3", "warm_start: '${env:WARM,true}'"),
    ("iterations: 3", "tol: '1${vars.a}'"),
    ("{method: cg, iterations: 3}", "darts"),
    ("loss: losses.lower", "loss: [a, {_target_: b}]"),
    ("unroll_steps: 5", "data: env.query"),
    ("unroll_steps: 5", "data: {a: env.query, b: {_target_: c, d: 1}}"),
    ("edges:", "env: {_target_: e, step_every: step, other: 1}\nedges:"),
    ("edges:", "engine: {validate: {_target_: e, every: 3, other: 1}}\nedges:"),
    ("edges:", "engine: {validate: e, loggers: a}\nedges:"),
]
REFUSED = [
    ("unroll_steps: 5", "unrol_steps: 5"),
    ("unroll_steps: 5", "unroll_steps: five"),
    ("unroll_steps: 5", "unroll_steps: 0"),
    ("method: cg", "method: cgg"),
    ("iterations: 3", "alpha: 3"),
    ("u2l: ", "u2x: "),
    ("upper -> lower", "upper - lower"),
    ("mlograph: 1", "mlograph: 2"),
    ("name: tiny", "description: tiny"),
    ("  upper:\n", "  step:\n"),
    ("{copy: upper}", "{lr: 1}"),
    ("edges:", "env: {_target_: e, step_every: never}\nedges:"),
]


def editors_agree(text: str) -> bool:
    jsonschema = pytest.importorskip("jsonschema")
    root = read_document(from_string(text, "g.yaml")).root
    assert root is not None
    validator = jsonschema.Draft202012Validator(json_schema())
    return bool(validator.is_valid(plain(root)))


def test_the_schema_is_a_schema():
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(("old", "new"), [("tiny", "tiny"), *ACCEPTED])
def test_editors_accept_what_the_language_accepts(old: str, new: str):
    assert editors_agree(GRAPH.replace(old, new))


@pytest.mark.parametrize(("old", "new"), REFUSED)
def test_editors_refuse_what_the_language_refuses(old: str, new: str):
    assert not editors_agree(GRAPH.replace(old, new))
    with pytest.raises(GraphError):
        loads(GRAPH.replace(old, new))


def test_a_file_that_includes_another_may_leave_out_anything():
    assert editors_agree("include: base.yaml\nproblems: {a: {optimizer: {lr: 1}}}")
    assert editors_agree("include: [base.yaml]\nproblems: {a: {hypergradient: {iterations: 3}}}")
    assert not editors_agree("include: base.yaml\nproblems: {a: {optimiser: {lr: 1}}}")
    assert not editors_agree("problems: {a: {optimizer: {lr: 1}}}")
