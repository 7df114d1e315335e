"""What editors offer for components: every name can be used where it is offered."""

from __future__ import annotations

import inspect

import pytest
import torch

from mlograph.components import SHORT_NAMES, Imports
from mlograph.language.offers import ARGUMENTS, OFFERED
from mlograph.language.schema import json_schema
from mlograph.loggers import LOGGERS

RESOLVED = [(kind, name) for kind, names in OFFERED.items() for name in names if kind != "Sink"]


@pytest.mark.parametrize(("kind", "name"), RESOLVED)
def test_every_name_leads_to_something(kind: str, name: str):
    assert callable(Imports().resolve(name, ()))


def test_short_names_are_offered_rather_than_what_they_stand_for():
    offered = {name for names in OFFERED.values() for name in names}
    assert set(SHORT_NAMES) <= offered
    assert not set(SHORT_NAMES.values()) & offered
    assert OFFERED["Sink"] == tuple(LOGGERS)


def test_kinds_are_what_they_are_called():
    found = {
        kind: [Imports().resolve(n, ()) for n in OFFERED[kind]]
        for kind in OFFERED
        if kind != "Sink"
    }
    assert all(issubclass(each, torch.optim.Optimizer) for each in found["Optimizer"])
    assert all(issubclass(each, torch.nn.Module) for each in found["Module"])
    assert all("optimizer" in inspect.signature(each).parameters for each in found["Scheduler"])


@pytest.mark.parametrize("kind", ARGUMENTS)
def test_arguments_are_taken_by_most_of_their_kind(kind: str):
    for argument in ARGUMENTS[kind]:
        taking = [
            name
            for name in OFFERED[kind]
            if argument in inspect.signature(Imports().resolve(name, ())).parameters
        ]
        assert 2 * len(taking) > len(OFFERED[kind])


def test_any_other_path_is_as_good():
    for kind in OFFERED:
        definitions = json_schema()["$defs"]
        if kind in definitions:
            path, mapping = definitions[kind]["anyOf"]
            assert path["type"] == "string"
            assert "enum" not in path
            assert mapping["additionalProperties"] is True
