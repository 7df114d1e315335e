"""Settings that Optuna chooses."""

from __future__ import annotations

import json
import math
from pathlib import Path
from statistics import fmean

import pytest

from mlograph.campaign.axes import read_axes
from mlograph.campaign.outcome import Outcome
from mlograph.campaign.search import Search, as_chosen
from mlograph.campaign.settings import Run
from mlograph.errors import UsageError

pytest.importorskip("optuna")

WORDS = ("engine.seed=0,1", "lr=1e-4..1.0:log", "n=1..20", "kind=a,b", "k=1..64:log")


def search(file: Path, trials: int = 30, direction: str = "max") -> Search:
    return Search(read_axes(WORDS), trials, "accuracy", direction, 0, file, lambda run: run)


def accuracy(run: Run) -> float:
    """The largest where lr is 0.01, n is 20 and the kind is b; the seed adds noise."""
    values = run.values
    far = math.log10(float(values["lr"])) + 2
    noise = 0.01 * int(values["engine.seed"])
    return -(far**2) + int(values["n"]) / 20 + (values["kind"] == "b") + noise


def outcomes(runs: tuple[Run, ...]) -> list[Outcome]:
    return [Outcome(0, "", validation={"accuracy": accuracy(run)}) for run in runs]


def worked(source: Search) -> list[tuple[Run, ...]]:
    found = []
    while runs := source.next():
        found.append(runs)
        source.done(runs, outcomes(runs))
    return found


def test_better_settings_are_found_and_each_has_all_seeds(tmp_path: Path):
    found = worked(search(tmp_path / "t.jsonl"))
    assert len(found) == 30
    assert all([run.values["engine.seed"] for run in runs] == ["0", "1"] for runs in found)
    means = [sum(map(accuracy, runs)) / 2 for runs in found]
    # The first ten are drawn at random; 0.06 on average, and 0.1 for all where nothing is told.
    assert fmean(means[:10]) < 0.5
    assert fmean(means[10:]) > 0.8
    assert found[0][0].name.startswith("000,lr=")
    assert len({run.name for runs in found for run in runs}) == 60


def test_values_are_as_the_command_says(tmp_path: Path):
    for run, _ in worked(search(tmp_path / "t.jsonl")):
        assert 1e-4 <= float(run.values["lr"]) <= 1.0
        assert run.values["n"] in map(str, range(1, 21))
        assert run.values["kind"] in "ab"
        assert 1 <= int(run.values["k"]) <= 64
        assert f"lr={run.values['lr']}" in run.overrides


def test_several_settings_are_open_at_once(tmp_path: Path):
    source = search(tmp_path / "t.jsonl", trials=3)
    one, two, three = source.next(), source.next(), source.next()
    assert source.next() == ()
    for runs in (two, three, one):
        source.done(runs, outcomes(runs))
    assert source.next() == ()


def test_a_resumed_search_begins_with_what_was_asked_before(tmp_path: Path):
    file = tmp_path / "t.jsonl"
    before = worked(search(file, trials=12))
    assert len(file.read_text().splitlines()) == 12
    again = worked(search(file, trials=15))
    assert [runs[0].name for runs in again[:12]] == [runs[0].name for runs in before]
    assert len(again) == 15
    assert [json.loads(line)["n"] for line in file.read_text().splitlines()] == [
        int(runs[0].values["n"]) for runs in again
    ]


def test_what_did_not_finish_is_told_as_failed(tmp_path: Path):
    source = search(tmp_path / "t.jsonl", trials=4)
    for outcome in (
        Outcome(3, "not finite"),
        Outcome(0, "", validation={"accuracy": math.nan}),
        Outcome(143, "stopped by SIGTERM"),
    ):
        runs = source.next()
        source.done(runs, [outcome, outcome])
    assert source.next()


def test_a_metric_that_nobody_reports_is_said(tmp_path: Path):
    source = search(tmp_path / "t.jsonl")
    runs = source.next()
    with pytest.raises(UsageError, match=r"no run reports 'accuracy' \(did you mean 'acuracy'\?\)"):
        source.done(runs, [Outcome(0, "", validation={"acuracy": 1.0})] * 2)


def test_every_listed_value_and_every_end_is_checked_before():
    chosen = list(as_chosen(read_axes(WORDS)))
    assert len(chosen) == 20
    texts = {path: {each[path].text for each in chosen} for path in ("lr", "n", "kind", "k")}
    assert texts["lr"] == {"0.0001", "1.0"}
    assert texts["k"] == {"1", "64"}
    assert texts["kind"] == {"a", "b"}
    assert len(texts["n"]) == 20
