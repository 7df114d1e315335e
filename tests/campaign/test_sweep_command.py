"""`mlograph sweep`, from its command to its folder; runs are processes of their own."""

from __future__ import annotations

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import mlograph
from mlograph import cli
from mlograph.campaign import folder as folders
from mlograph.campaign.folder import Request
from mlograph.campaign.preparation import prepare
from mlograph.campaign.search import require
from mlograph.checkpoints import read, unequal
from mlograph.children import cores
from mlograph.errors import BusyError, UsageError
from mlograph.snapshot import fingerprint

GRAPH = """\
mlograph: 1
name: pair
problems:
  upper: {module: {_target_: mlograph.nn.Tensors, u: [3]}, optimizer: {_target_: sgd, lr: 0.1},
          loss: pair_parts.upper}
  lower: {module: {_target_: mlograph.nn.Tensors, w: [3]}, optimizer: {_target_: sgd, lr: 0.1},
          loss: pair_parts.lower, hypergradient: darts}
edges: [{u2l: upper -> lower}, {l2u: lower -> upper}]
engine: {steps: 4, device: cpu, log_every: 1}
"""

# A run that is asked to begins a file, and ends itself or waits until somebody does.
PARTS = """\
import os, pathlib, signal, torch

HERE = pathlib.Path(__file__).parent

def upper(upper, lower):
    (w,) = lower.parameters()
    return ((w - 1) ** 2).sum()

def lower(lower, upper, step):
    if step == 2 and (HERE / "kill").exists():
        (HERE / "kill").unlink()
        os.kill(os.getpid(), signal.SIGTERM)
    (HERE / "begun").write_text(os.environ.get("MLOGRAPH_CORES", ""))
    (w,), (u,) = lower.parameters(), upper.parameters()
    return ((w - u - torch.rand(3)) ** 2).sum()
"""

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair.yaml").write_text(GRAPH)
    (tmp_path / "pair_parts.py").write_text(PARTS)
    return tmp_path


@pytest.fixture
def sweep(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    def run(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlograph", "sweep", *words])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return run


def made(folder: Path) -> list[Path]:
    """The folders of sweeps, the oldest first."""
    return sorted(path.parent for path in folder.glob("runs/pair/sweep-*/sweep.yaml"))


def ends(directory: Path) -> dict[str, object]:
    """What every run of a sweep is at its end."""
    return {
        path.name: fingerprint(read(max(path.glob("checkpoints/step-*"))))
        for path in sorted(directory.glob("runs/*/"))
    }


def test_a_sweep_keeps_all_and_a_run_that_diverges_is_a_row(folder: Path, sweep: Command):
    words = ("pair.yaml", "engine.seed=7", "problems.lower.optimizer.lr=0.1,1e30", "-j", "2")
    code, out, err = sweep(*words)
    assert code == 3
    (directory,) = made(folder)
    first, *lines = out.splitlines()
    assert first == f"2 runs in {directory.relative_to(folder)}, 2 at a time with one thread each"
    assert any(re.fullmatch(r"\[./2\] lr=0.1: finished in .* upper.loss .*", x) for x in lines)
    assert any(
        re.fullmatch(r"\[./2\] lr=1e30: not finite: problems.* not finite.*", x) for x in lines
    )
    assert "1 of 2 runs finished." in lines
    assert err.startswith("lr=1e30: not finite (exit code 3): problems.")
    with (directory / "table.csv").open() as file:
        rows = {row["run"]: row for row in csv.DictReader(file)}
    assert [row["exit_code"] for row in rows.values()] == ["0", "3"]
    assert rows["lr=0.1"]["steps"] == "4"
    assert "| 1e30 | not finite | – | – | – |" in (directory / "table.md").read_text()
    assert "lr=1e30: not finite" in (directory / "report.html").read_text()
    run = directory / "runs" / "lr=0.1"
    assert {"metrics.jsonl", "report.html", "resolved.yaml"} <= {p.name for p in run.iterdir()}
    assert int((folder / "begun").read_text()) == max(1, cores() // 2), "workers of each run"
    assert (run / "overrides.txt").read_text().splitlines() == [
        "engine.seed=7",
        "problems.lower.optimizer.lr=0.1",
        "engine.threads=1",
    ]
    # The same again: finished ones are kept, failed ones are run again.
    marks = {path.name: path.stat().st_mtime_ns for path in directory.glob("runs/*.json")}
    code, out, _ = sweep(*words)
    assert (code, made(folder)) == (3, [directory])
    assert "1 finished before: kept\n1 failed before: run again\n" in out
    assert "lr=0.1: finished before" in out
    after = {path.name: path.stat().st_mtime_ns for path in directory.glob("runs/*.json")}
    assert {name for name in after if after[name] != marks[name]} == {"lr=1e30.json"}
    assert (directory / "runs" / "lr=1e30.log").read_text().count("error: ") == 1


@pytest.mark.slow
def test_interrupted_runs_go_on_to_the_same_bits(folder: Path, sweep: Command):
    words = ("pair.yaml", "engine.seed=0,1", "-q", "-j", "1")
    assert sweep(*words, "-o", "whole")[0] == 0
    (folder / "kill").touch()
    code, _, err = sweep(*words)
    assert (code, err) == (143, "seed=0: interrupted (exit code 143): stopped by SIGTERM\n")
    (directory,) = made(folder)
    code, out, _ = sweep("--resume", str(directory))
    assert code == 0
    assert "1 finished before: kept\n1 interrupted before: going on from their checkpoints" in out
    assert "seed=1: finished before" in out
    log = (directory / "runs" / "seed=0.log").read_text()
    assert "stopped by SIGTERM after" in log
    assert "anew" not in log
    (whole,) = (folder / "whole" / "pair").iterdir()
    assert list(unequal(ends(directory), ends(whole))) == []


@pytest.mark.slow
def test_ctrl_c_ends_the_runs_and_says_how_to_go_on(folder: Path):
    words = ["pair.yaml", "engine.seed=0..3", "engine.steps=100000000", "-j", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlograph", "sweep", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(mlograph.__file__).parents[1])},
    )
    while not (folder / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    (directory,) = made(folder)
    again = f"mlograph sweep --resume {directory.relative_to(folder)}"
    assert process.returncode == 130
    assert err == f"stopped by SIGINT with 0 of 4 runs finished; go on with: {again}\n"
    assert "[1/4] seed=0: interrupted: stopped by SIGTERM" in out
    assert list(directory.glob("runs/seed=0/checkpoints/*.ckpt"))
    assert "- `seed=1`: not run" in (directory / "table.md").read_text()


@pytest.mark.slow
def test_a_run_whose_sweep_was_killed_saves_itself_and_ends(folder: Path):
    words = ["pair.yaml", "engine.seed=0,1", "engine.steps=100000000", "-j", "1", "-q"]
    process = subprocess.Popen(
        [sys.executable, "-m", "mlograph", "sweep", *words],
        env={**os.environ, "PYTHONPATH": str(Path(mlograph.__file__).parents[1])},
    )
    while not (folder / "begun").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.kill()
    process.wait()
    (log,) = folder.glob("runs/pair/*/runs/seed=0.log")
    deadline = time.monotonic() + 60
    while "stopped by SIGTERM after" not in log.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_nothing_runs_where_anything_is_wrong(folder: Path, sweep: Command):
    code, out, err = sweep(
        "pair.yaml", "engine.sed=1,2", "problems.lower.hypergradient=cg,dart,neuman"
    )
    assert (code, out) == (2, "")
    assert err == (
        "overrides:1:8: engine.sed: unknown key (did you mean 'seed'?)\n"
        "    engine.sed=1,2\n"
        "           ^\n"
        "overrides:2:33: problems.lower.hypergradient: unknown hypergradient method 'dart' "
        "(did you mean 'darts'?)\n"
        "    problems.lower.hypergradient=cg,dart,neuman\n"
        "                                    ^\n"
        "overrides:2:38: problems.lower.hypergradient: unknown hypergradient method 'neuman' "
        "(did you mean 'neumann'?)\n"
        "    problems.lower.hypergradient=cg,dart,neuman\n"
        "                                         ^\n"
    )
    assert not (folder / "runs").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["pair.yaml"], "nothing is varied: give several values, as in engine.seed=0..4"),
        ([], "no graph file given"),
        (["pair.yaml", "engine.seed=0..1999"], "2,000 runs, at most 1,000 (--max-runs 2000 allows"),
        (
            ["pair.yaml", "engine.seed=0..99", "engine.steps=1..50"],
            "5,000 runs, at most 1,000 (--random N draws some, --max-runs 5000 allows them)",
        ),
        (["pair.yaml", "engine.seed=0,1", "--random", "3"], "nothing but seeds is varied"),
        (["pair.yaml", "engine.steps=1,2", "--optuna", "3"], "--optuna needs --metric"),
        (
            ["pair.yaml", "engine.steps=1,2", "--optuna", "3", "--random", "3"],
            "--random and --optuna exclude one another",
        ),
        (["pair.yaml", "engine.steps=1,2", "--direction", "up"], "--direction up: max or min"),
        (["--resume", "nowhere"], "nowhere: is no folder of a sweep"),
        (["pair.yaml", "--resume", "nowhere"], "give no graph"),
    ],
)
def test_what_does_not_fit_together_is_said(words: list[str], message: str, sweep: Command):
    code, _, err = sweep(*words)
    assert code == 2
    assert message in err
    assert err.startswith("error: ")


def test_a_dry_run_names_the_runs(folder: Path, sweep: Command):
    code, out, _ = sweep("pair.yaml", "engine.seed=0,1", "engine.steps=1,2", "--dry-run")
    assert (code, out.split()) == (
        0,
        ["steps=1,seed=0", "steps=1,seed=1", "steps=2,seed=0", "steps=2,seed=1"],
    )
    assert not (folder / "runs").exists()


def test_a_changed_graph_or_loss_is_another_sweep(folder: Path):
    words = ("pair.yaml", "engine.steps=1,2")
    prepared = []
    for change in (None, "pair_parts.py", "pair.yaml", None):
        if change is not None:
            file = folder / change
            file.write_text(file.read_text().replace("- 1", "- 2").replace("0.1", "0.2"))
        prepared.append(prepare(Request(words[0], words[1:])).identity)
    assert len(set(prepared)) == 3
    assert prepared[2] == prepared[3]


def test_a_resumed_sweep_whose_graph_has_changed_is_refused(folder: Path, sweep: Command):
    request = Request("pair.yaml", ("engine.steps=1,2",))
    prepared = prepare(request)
    made_now = folders.create(folder / "runs", "pair")
    folders.write_request(
        made_now,
        request,
        prepared.identity,
        prepared.axes,
        [run for s in prepared.runs for run in s],
    )
    assert folders.earlier(folder / "runs", "pair", prepared.identity) == made_now
    (folder / "pair_parts.py").write_text("# nothing\n" + PARTS)
    code, _, err = sweep("--resume", str(made_now.path))
    assert code == 2
    assert (
        "the graph, or a Python file beside it, has changed since; to begin anew: mlograph" in err
    )


def test_packages_are_allowed_by_the_command_line_only(folder: Path):
    request = Request("pair.yaml", ("engine.steps=1,2",), ("numpy",))
    prepared = prepare(request)
    made_now = folders.create(folder / "runs", "pair")
    folders.write_request(made_now, request, prepared.identity, prepared.axes, [])
    with pytest.raises(UsageError, match="made with --allow numpy; give that again"):
        folders.read_request(made_now.path, ())
    again, identified = folders.read_request(made_now.path, ("numpy",))
    assert (again, identified) == (request, prepared.identity)


def test_only_one_process_works_on_a_sweep(folder: Path):
    made_now = folders.create(folder / "runs", "pair")
    other = folders.Folder(made_now.path)
    message = rf"another process \({os.getpid()}\) is working on this sweep; wait"
    with made_now.held(), pytest.raises(BusyError, match=message), other.held():
        pass
    with made_now.held():
        pass


@pytest.mark.slow
def test_the_same_from_python(folder: Path):
    result = mlograph.sweep(
        "pair.yaml", ["engine.steps=1,2"], metric="upper.loss", direction="min", quiet=True
    )
    assert result.code == 0
    assert [run.name for run in result.runs] == ["steps=1", "steps=2"]
    assert [result.outcomes[run.name].steps for run in result.runs] == [1, 2]
    losses = [require(result.outcomes[run.name], "upper.loss") for run in result.runs]
    assert [row.mean("upper.loss") for row in result.table.rows] == sorted(losses)
    assert json.loads((result.directory / "runs" / "steps=1.json").read_text())["code"] == 0
    with pytest.raises(UsageError, match=r"no run reports 'upper.los' \(did you mean 'upper.loss'"):
        mlograph.sweep("pair.yaml", ["engine.steps=1,2"], metric="upper.los", quiet=True)
    with pytest.raises(UsageError, match="lists of texts, not one text"):
        mlograph.sweep("pair.yaml", "engine.steps=1,2")
