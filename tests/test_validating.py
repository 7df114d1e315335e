"""Validations of a run: how often, what is told of them, and when they end it."""

from __future__ import annotations

from typing import Any

import pytest
from builders import failure
from single_run import Scripted, alone, trained

from mlograph.result import RunResult


def validated(validator: object, steps: int = 9, **engine: Any) -> RunResult:
    every = {"validator": validator, "every": engine.pop("every", 1)}
    return trained(alone(steps=steps, engine={"validate": every, **engine}))


def test_validation_comes_as_often_as_asked_and_once_at_the_end():
    validator = Scripted(1.0)
    result = validated(validator, steps=9, every=3)
    assert validator.asked == [False, False, True]
    found = [(r.kind, r.step, r.text) for r in result.records if r.kind != "train"]
    assert found == [
        ("baseline", 0, "chance"),
        ("validation", 3, ""),
        ("validation", 6, ""),
        ("validation", 9, ""),
    ]


def test_validation_without_a_rhythm_comes_at_the_end():
    validator = Scripted(1.0)
    trained(alone(engine={"validate": validator}))
    assert validator.asked == [True]


@pytest.mark.parametrize(
    ("values", "rule", "steps"),
    [
        ([1, 2, 2, 2, 3, 4, 5, 6], {"patience": 2}, 4),
        ([1, 2, 2, 3, 3, 4, 4, 5], {"patience": 2}, 9),
        ([5, 4, 3, 2, 1], {"patience": 2, "mode": "max"}, 3),
        ([5, 4, 3, 3, 3], {"patience": 2, "mode": "min"}, 5),
        ([1, 1.6, 2.2, 2.4, 2.6, 4], {"patience": 2, "min_delta": 0.5}, 5),
        ([5, 4.8, 4.6, 4.4], {"patience": 3, "min_delta": 1.0, "mode": "min"}, 4),
        ([float("nan"), 1, 2, 3, 4, 5, 6, 7, 8, 9], {"patience": 2}, 9),
        ([1, float("nan"), float("nan")], {"patience": 2}, 3),
    ],
)
def test_a_run_stops_when_nothing_gets_better(values: list[float], rule: Any, steps: int):
    result = validated(Scripted(*values), early_stopping={"metric": "score", **rule})
    assert result.steps == steps
    waited = rule["patience"]
    wanted = "all steps made" if steps == 9 else f"no improvement for {waited} validations"
    assert result.ended == wanted


def test_a_metric_may_be_named_with_its_kind():
    stopping = {"metric": "validation.score", "patience": 1}
    assert validated(Scripted(1.0, 1.0), early_stopping=stopping).steps == 2


def test_a_misspelt_metric_gets_the_nearest_name():
    message = failure(lambda: validated(Scripted(1.0), early_stopping={"metric": "scor"}))
    assert message == (
        "engine.early_stopping.metric: no 'scor' in validation (did you mean 'score'?)"
    )


def test_a_validator_that_raises_names_the_users_line():
    class Broken(Scripted):
        def validate(self, trial: Any) -> dict[str, float]:
            raise KeyError("lost")

    message = failure(lambda: validated(Broken()))
    assert message.startswith("engine.validate: KeyError: 'lost' (test_validating.py:")


def test_at_the_end_it_is_too_late_to_miss_a_metric():
    class Brief(Scripted):
        def validate(self, trial: Any) -> dict[str, float]:
            return {} if trial.final else super().validate(trial)

    result = validated(Brief(1.0, 2.0), steps=2, early_stopping={"metric": "score"})
    assert result.ended == "all steps made"
