"""One run of a sweep, in the process that makes it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mlograph.campaign import child
from mlograph.campaign.child import carry_out
from mlograph.campaign.job import Job
from mlograph.campaign.outcome import Outcome, reached, read_outcome

GRAPH = """\
mlograph: 1
name: small
description: ${env:SWEPT_SECRET}
problems:
  upper: {module: {_target_: mlograph.nn.Tensors, u: [2]}, optimizer: {_target_: sgd, lr: 0.1},
          loss: small_parts.upper}
  lower: {module: {_target_: mlograph.nn.Tensors, w: [2]}, optimizer: {_target_: sgd, lr: 0.1},
          loss: {_target_: small_parts.lower, key: "${env:SWEPT_SECRET}"}, hypergradient: darts}
edges: [{u2l: upper -> lower}, {l2u: lower -> upper}]
engine: {steps: 3, device: cpu, threads: 1, log_every: 1}
"""
PARTS = """\
import os, pathlib, signal

HERE = pathlib.Path(__file__).parent

def upper(upper, lower):
    (w,) = lower.parameters()
    return ((w - 1) ** 2).sum()

def lower(lower, upper, step, key):
    if (HERE / "crash").exists():
        raise ZeroDivisionError(f"with {key}")
    with (HERE / "steps").open("a") as file:
        file.write(f"{step} ")
    if step == 1 and (HERE / "stop").exists():
        (HERE / "stop").unlink()
        os.kill(os.getpid(), signal.SIGTERM)
    (w,), (u,) = lower.parameters(), upper.parameters()
    return ((w - u) ** 2).sum()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SWEPT_SECRET", "hunter2hunter2")
    (tmp_path / "small.yaml").write_text(GRAPH)
    (tmp_path / "small_parts.py").write_text(PARTS)
    return tmp_path


def job(folder: Path, *overrides: str) -> Job:
    graph, run, outcome = (str(folder / name) for name in ("small.yaml", "run", "run.json"))
    return Job(graph, overrides, (), run, outcome)


def ended(folder: Path) -> Outcome:
    found = read_outcome(folder / "run.json")
    assert found is not None
    return found


def test_a_job_is_one_word(folder: Path):
    assert Job.of(job(folder, "a=1", "b='ü'").text()) == job(folder, "a=1", "b='ü'")


def test_a_run_that_finishes_says_so_last(folder: Path):
    assert carry_out(job(folder)) == 0
    outcome = ended(folder)
    assert (outcome.status, outcome.ended) == ("finished", "all steps made")
    assert (outcome.steps, outcome.total) == (3, 3)
    assert outcome.metrics.keys() == {"upper.loss", "lower.loss"}
    assert reached(folder / "run" / "metrics.jsonl") == 3
    assert (folder / "run" / "report.html").exists()


def test_a_run_that_is_stopped_says_nothing_and_goes_on(
    folder: Path, capfd: pytest.CaptureFixture[str]
):
    (folder / "stop").touch()
    assert carry_out(job(folder)) == 143
    assert "stopped by SIGTERM after" in capfd.readouterr().out
    assert read_outcome(folder / "run.json") is None
    assert list(folder.glob("run/checkpoints/*.ckpt"))
    (folder / "steps").unlink()
    assert carry_out(job(folder)) == 0
    assert "0" not in (folder / "steps").read_text().split()
    assert capfd.readouterr().out == ""
    assert ended(folder).steps == 3
    lines = map(json.loads, (folder / "run" / "metrics.jsonl").read_text().splitlines())
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3]


def test_what_was_never_begun_is_begun_anew(folder: Path):
    (folder / "run" / "checkpoints").mkdir(parents=True)
    assert carry_out(job(folder)) == 0


def test_numbers_that_go_wrong_end_with_3(folder: Path):
    assert carry_out(job(folder, "problems.lower.optimizer.lr=1e30", "engine.steps=50")) == 3
    assert ended(folder).status == "not finite"
    assert "not finite" in ended(folder).ended
    assert ended(folder).steps < 50


def test_a_graph_that_cannot_be_built_ends_with_2(folder: Path, capfd: pytest.CaptureFixture[str]):
    assert carry_out(job(folder, "problems.lower.loss._target_=small_parts.low")) == 2
    assert "did you mean 'lower'?" in ended(folder).ended
    assert "did you mean 'lower'?" in capfd.readouterr().out


def test_an_error_of_the_users_code_is_told_without_secrets(
    folder: Path, capfd: pytest.CaptureFixture[str]
):
    (folder / "crash").touch()
    assert carry_out(job(folder)) == 2
    assert "ZeroDivisionError" in ended(folder).ended
    written = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    assert not any(b"hunter2" in text for text in [capfd.readouterr().out.encode(), *written])


def test_an_error_of_ours_is_a_row_too_and_without_secrets(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise ZeroDivisionError("with hunter2hunter2")

    monkeypatch.setattr(child, "_run", fail)
    assert carry_out(job(folder)) == 1
    assert ended(folder).ended == "ZeroDivisionError: with ${env:SWEPT_SECRET}"
    out = capfd.readouterr().out
    assert out.startswith("Traceback")
    assert "hunter2hunter2" not in out


@pytest.mark.parametrize("text", ["", "{", '{"step": 1}\n{"st', "\n", "[]\n"])
def test_how_far_a_run_is_where_nobody_can_tell(text: str, tmp_path: Path):
    (tmp_path / "m.jsonl").write_text(text)
    assert reached(tmp_path / "m.jsonl") == (1 if "1}" in text else 0)
    assert reached(tmp_path / "none.jsonl") == 0
