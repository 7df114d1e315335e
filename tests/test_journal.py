"""What loggers are told of a run, in which order."""

from __future__ import annotations

import pytest
import torch
from single_run import Diary, Scripted, alone, trained
from torch import Tensor

from mlograph.journal import Journal
from mlograph.loggers.memory import Memory
from mlograph.plan import Plan, Rate, Step
from mlograph.progress import Progress
from mlograph.views import View


def test_loggers_are_told_everything_in_order():
    diary = Diary()
    engine = {"log_every": 2, "validate": {"validator": Scripted(1.0), "every": 3}}
    trained(alone(steps=5, engine=engine), diary)
    assert diary.entries == [
        "start 5",
        "baseline 0",
        "step 1",
        "step 2",
        "train 2",
        "step 3",
        "validation 3",
        "step 4",
        "train 4",
        "step 5",
        "train 5",
        "validation 5",
        "close",
    ]


def test_training_is_logged_as_means_since_the_last_time():
    def loss(a: View, step: int) -> dict[str, Tensor]:
        zero = 0.0 * torch.stack([p.sum() for p in a.parameters()]).sum()
        return {"loss": zero + step, "double": torch.tensor(2.0 * step)}

    memory = Memory()
    trained(alone(loss, steps=5, engine={"log_every": 2}), memory)
    values = [(r.step, r.values["a.loss"], r.values["a.double"]) for r in memory.records]
    assert values == [(2, 0.5, 1.0), (4, 2.5, 5.0), (5, 4.0, 8.0)]
    assert memory.records[0].values["a.lr"] == 0.1


@pytest.fixture
def journal() -> Journal:
    plan = Plan((), (Step("a"),), {"a": Rate(1, 1)}, {}, "a", 3)
    return Journal([], Progress(plan), lambda text: text.replace("secret", "•••"))


def test_what_came_from_the_environment_is_told_nowhere(journal: Journal):
    journal.log("train", {"secret": 1.0}, "no secret")
    (record,) = journal.records
    assert (dict(record.values), record.text) == ({"•••": 1.0}, "no •••")


def test_what_is_told_once_is_not_told_again(journal: Journal):
    for text in ("a secret", "another", "a secret"):
        journal.tell_once(text)
    assert [record.text for record in journal.records] == ["a •••", "another"]
