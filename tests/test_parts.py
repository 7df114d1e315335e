"""What a graph names beside its problems: built, or told as faults in their places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from builders import complaints
from single_run import Diary, Scripted, alone, trained
from torch import nn


@pytest.mark.parametrize(
    ("engine", "missing"),
    [
        ({}, "'validate' under engine"),
        ({"validate": Scripted(1.0)}, "'every' under validate"),
    ],
)
def test_early_stopping_needs_validations(engine: dict[str, Any], missing: str):
    declared = alone(engine={"early_stopping": {"metric": "score"}, **engine})
    assert complaints(lambda: trained(declared)) == [
        f"engine.early_stopping: early stopping needs {missing}"
    ]


def test_a_validator_must_be_one():
    declared = alone(engine={"validate": nn.Identity()})
    (fault,) = complaints(lambda: trained(declared))
    assert fault.startswith("engine.validate: expected a validator such as")


def test_faults_of_the_engine_are_told_with_those_of_the_problems():
    engine = {"validate": "mlograph.validation.Adaptatoin", "loggers": ["jsonl"]}
    found = complaints(lambda: trained(alone(optimizer="torch.optim.Adm", engine=engine)))
    assert [fault.split(": ")[0] for fault in found] == ["problems.a.optimizer", "engine.validate"]


def test_loggers_of_the_graph_are_built_told_and_closed(tmp_path: Path):
    made: list[Diary] = []

    def diary(name: str) -> Diary:
        made.append(Diary())
        return made[-1]

    file = tmp_path / "metrics.jsonl"
    loggers = [{"_target_": diary, "name": "x"}, {"_target_": "jsonl", "path": str(file)}]
    trained(alone(steps=2, engine={"loggers": loggers, "log_every": 1}))
    assert made[0].entries == ["start 2", "step 1", "train 1", "step 2", "train 2", "close"]
    assert len(file.read_text().splitlines()) >= 2


def test_a_logger_of_the_graph_must_be_one():
    found = complaints(lambda: trained(alone(engine={"loggers": ["torch.nn.Identity"]})))
    assert found == ["engine.loggers: expected a logger, got a Identity"]
