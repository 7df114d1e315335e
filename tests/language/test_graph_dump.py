"""Specs written as people write them, and read again."""

import functools

import pytest
from language_cases import GRAPH

from mlograph.errors import GraphError
from mlograph.language import dump, loads, parse
from mlograph.language.spec import Component, GraphSpec

FULL = """\
mlograph: 1
name: full
description: |
  two lines,
  and $${braces}
vars: {a: 1, b: 'on', c: 'null', d: '1e-3', e: 1.0, f: [], g: {}}
env: {_target_: envs.Sine, tasks: 3, step_every: step}
problems:
  upper:
    module: torch.nn.Identity
    loss:
      - losses.first
      - {_target_: losses.second, weight: 0.5}
    optimizer: {_target_: torch.optim.Adam, lr: 0.001, betas: [0.9, 0.99]}
    scheduler: cosine
    data:
      train: env.query
      extra: data.Loader
      other: {_target_: env.Loader}
    hypergradient: {method: neumann, alpha: 0.1}
  lower:
    module: {copy: upper}
    loss: {_target_: losses.lower, inner: {_target_: losses.weight}}
    optimizer: sgd
    data: env.support
    unroll_steps: 5
    unequal_unroll: true
    warmup_steps: 1
    gradient_accumulation: 2
    gradient_clipping: 1.0
    hypergradient: darts
    start_from: upper
    precision: float64
    freeze: ['*.bias', head.*]
    callbacks: {after_update: hooks.clamp}
edges:
  - u2l: upper -> lower
  - l2u: lower -> upper
engine:
  steps: 10
  of: upper
  validate: {_target_: checks.Adapt, tasks: 5, every: 2}
  early_stopping: {metric: accuracy, mode: min}
  loggers: loggers.Lines
  on_nonfinite: skip
"""


def graph(**problem: object) -> GraphSpec:
    whole = {"module": "m", "loss": "l", "optimizer": "o", **problem}
    return parse({"mlograph": 1, "name": "g", "problems": {"a": whole}})


@pytest.mark.parametrize("text", [GRAPH, FULL])
def test_what_is_written_reads_as_the_same_spec(text: str):
    spec = loads(text).spec
    assert loads(dump(spec)).spec == spec
    assert dump(loads(dump(spec)).spec) == dump(spec)


def test_specs_are_written_as_people_write_them():
    written = dump(loads(FULL).spec)
    # The order of keys is the language's own, whatever the order was in the file.
    assert sorted(written.splitlines()) == sorted(FULL.splitlines())


def test_resolved_texts_read_as_the_same_spec():
    loaded = loads(FULL)
    assert loads(loaded.resolved).spec == loaded.spec


def test_defaults_are_left_out():
    spec = graph(unroll_steps=1, hypergradient={"method": "cg"}, data=None, callbacks={})
    assert dump(spec) == (
        "mlograph: 1\nname: g\nproblems:\n  a: {module: m, loss: l, optimizer: o}\n"
    )


def test_python_objects_are_written_as_import_paths():
    spec = graph(
        module=GraphSpec,
        loss=[loads, Component.of(dump, weight=2)],
        optimizer={"_target_": parse, "betas": (0.9, 0.99)},
    )
    written = dump(spec)
    assert (
        loads(written).spec.model_dump()
        == graph(
            module="mlograph.language.spec.GraphSpec",
            loss=[
                "mlograph.language.source.loads",
                {"_target_": "mlograph.language.dump.dump", "weight": 2},
            ],
            optimizer={"_target_": "mlograph.language.validation.parse", "betas": [0.9, 0.99]},
        ).model_dump()
    )


class Thing:
    def method(self) -> None: ...


def local():
    def inner() -> None: ...

    return inner


HINT = " (define it at the top of a module, or give its import path as a text)"
UNWRITABLE = [
    ({"module": Thing()}, "problems.a.module: an object of type Thing was built in Python"
     " (give a class or a function and its arguments)"),
    ({"loss": lambda: 0},
     f"problems.a.loss: '<lambda>' is not at the top of a module{HINT}"),
    ({"loss": local()}, f"problems.a.loss: 'local.<locals>.inner' is not at the top of a module"
     f"{HINT}"),
    ({"loss": ["l", Thing().method]},
     f"problems.a.loss[1]: 'Thing.method' is not at the top of a module{HINT}"),
    ({"optimizer": functools.partial(Thing)},
     f"problems.a.optimizer: an object of type partial has no import path{HINT}"),
    ({"optimizer": {"_target_": "o", "f": len}}, "problems.a.optimizer.f: a class or function as an"
     " argument cannot be written (wrap it in a function that takes none)"),
    ({"optimizer": {"_target_": "o", "x": [Thing()]}},
     "problems.a.optimizer.x[0]: an object of type Thing cannot be written"),
    ({"optimizer": {"_target_": "o", "x": {1: 2}}},
     "problems.a.optimizer.x: the key 1 is not a plain text"),
    ({"optimizer": {"_target_": "o", "x": 10**200}},
     "problems.a.optimizer.x: such a large number cannot be written"),
]  # fmt: skip


@pytest.mark.parametrize(("problem", "message"), UNWRITABLE)
def test_what_cannot_be_written_is_named(problem: dict[str, object], message: str):
    with pytest.raises(GraphError) as caught:
        dump(graph(**problem))
    assert str(caught.value) == message


def test_an_argument_that_would_be_read_as_an_option():
    engine = {"validate": {"validator": {"_target_": "v", "every": 3}}}
    problems = {"a": graph().problems["a"]}
    spec = parse({"mlograph": 1, "name": "g", "problems": problems, "engine": engine})
    with pytest.raises(GraphError) as caught:
        dump(spec)
    assert str(caught.value) == "engine.validate.every: an argument of this name cannot be written"


def test_functions_of_a_script_cannot_be_imported():
    def scripted() -> None: ...

    scripted.__module__, scripted.__qualname__ = "__main__", "scripted"
    with pytest.raises(GraphError, match="'scripted' was defined in the script itself"):
        dump(graph(loss=scripted))


def test_a_module_may_have_an_argument_named_copy():
    spec = graph(module={"_target_": "m", "copy": "x"})
    assert spec.problems["a"].module == Component.of("m", copy="x")
    assert loads(dump(spec)).spec == spec


def test_components_made_in_python_are_taken_as_they_are():
    component = Component.of("l", weight=1)
    edge = loads(GRAPH).spec.edges[0]
    assert graph(loss=component).problems["a"].loss == (component,)
    data = {"mlograph": 1, "name": "g", "problems": {"a": graph().problems["a"]}, "edges": [edge]}
    assert parse(data).edges == (edge,)
