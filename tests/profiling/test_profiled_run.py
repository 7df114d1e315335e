"""Runs that tell where their time and memory go."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from builders import Batch, failure, pair, points, problem
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from mlograph import Graph, cli
from mlograph.data import full_batch
from mlograph.losses import mse, proximal
from mlograph.views import View


def fitted(lower: View, upper: View, batch: Batch) -> Tensor:
    return mse(lower, batch) + proximal(lower, upper, 1.0)


def judged(lower: View, batch: Batch) -> Tensor:
    return mse(lower, batch)


def declared(**rest: Any) -> Graph:
    data = full_batch(TensorDataset(*points(4, 1, seed=0)))
    return pair(
        problem(nn.Linear(1, 1).double(), judged, data=data),
        problem(nn.Linear(1, 1).double(), fitted, data=data, unroll_steps=3),
        name="pair",
        engine={"steps": 4, "log_every": 2, **rest},
    )


def test_a_profile_counts_every_instruction_of_the_plan():
    result = declared().run(quiet=True, profile=True)
    assert result.profile is not None
    rows = {row.name: row for row in result.profile.instructions()}
    calls = {name: row.calls for name, row in rows.items() if row.problem}
    assert calls == {"Start(lower)": 4, "Step(lower)": 12, "Step(upper)": 4}
    assert rows["logs"].calls == 2
    assert sum(row.share for row in rows.values()) == pytest.approx(1.0)
    assert result.profile.device.startswith("cpu (")


def test_what_nobody_asked_for_is_not_measured():
    assert declared().run(quiet=True).profile is None


def test_a_validation_is_one_row():
    checks = {"_target_": "mlograph.validation.Evaluate", "problem": "upper", "every": 2}
    data = full_batch(TensorDataset(*points(4, 1, seed=1)))
    result = declared(validate={**checks, "data": data}).run(quiet=True, profile=True)
    assert result.profile is not None
    # Two, and the baselines before the first update.
    assert {row.kind: row.calls for row in result.profile.instructions()}["validation"] == 3


def test_the_numbers_of_a_run_are_those_of_one_that_is_not_measured():
    one, other = declared().run(quiet=True), declared().run(quiet=True, profile=True)
    assert one.last() == other.last()


def test_a_profile_is_shown_and_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    result = declared().run(tmp_path, profile=True)
    assert result.directory is not None
    shown = capsys.readouterr().out
    assert "\ninstruction " in shown and "\nproblem " in shown and " on cpu (" in shown
    kept = json.loads((result.directory / "profile.json").read_text())
    assert {row["kind"] for row in kept["instructions"]} >= {"Step", "Start", "checkpoints"}


def test_a_run_that_fails_leaves_its_profile(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    def fail(lower: View, batch: Batch) -> Tensor:
        raise ValueError("no")

    wrong = pair(
        problem(nn.Linear(1, 1), fail, data=full_batch(TensorDataset(*points(4, 1, seed=0)))),
        problem(nn.Linear(1, 1), fitted, data=full_batch(TensorDataset(*points(4, 1, seed=0)))),
        name="pair",
    )
    assert "ValueError" in failure(lambda: wrong.run(tmp_path, profile=True))
    assert "Step(upper)" in capsys.readouterr().out
    (kept,) = tmp_path.glob("*/*/profile.json")
    assert "Step" in kept.read_text()


def test_verbose_shows_each_instruction_with_its_time(capsys: pytest.CaptureFixture[str]):
    declared().run(verbose=True)
    lines = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    names = [line[0] for line in lines]
    assert names[:5] == ["Start(lower)", *["Step(lower)"] * 3, "Step(upper)"]
    assert all(line[1].endswith("s") for line in lines[:5])


def test_a_run_cannot_be_quiet_and_verbose():
    assert failure(lambda: declared().run(quiet=True, verbose=True)) == (
        "a run cannot be both quiet and verbose"
    )


def test_the_command_has_both(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    from mlograph.scaffold import scaffold

    file, *_ = scaffold("example", tmp_path, "bilevel")
    for words in (["--verbose"], ["--profile", "--no-run-dir"]):
        arguments = ["mlograph", "run", str(file), "engine.steps=2", "-o", str(tmp_path), *words]
        monkeypatch.setattr("sys.argv", arguments)
        with pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        shown = capsys.readouterr().out
        assert "Step(regression)" in shown
        assert ("instruction " in shown) == ("--profile" in words)
