"""`mlograph resume`, and how a run's process ends."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlograph import cli
from mlograph.checkpoints import read, unequal
from mlograph.snapshot import fingerprint

FAULTS = Path(__file__).parent / "faults"
TOOL = Path(__file__).parent.parent / "tools" / "faults"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    def run(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlograph", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return int(caught.value.code or 0), out, err

    return run


@pytest.fixture
def finished(tmp_path: Path, command: Command) -> Path:
    """The directory of a run of a file with a Python file beside it."""
    shutil.copy(FAULTS / "parts.py", tmp_path / "parts_of_it.py")
    text = (FAULTS / "unroll.yaml").read_text().replace("parts.", "parts_of_it.")
    (tmp_path / "unroll.yaml").write_text(text)
    words = ("run", tmp_path / "unroll.yaml", "engine.steps=2", "-q", "-o", tmp_path / "runs")
    assert command(*words) == (0, "", "")
    (directory,) = tmp_path.glob("runs/unroll/*")
    return directory


def test_a_run_is_resumed_by_its_directory_alone(
    finished: Path, command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    newest = sorted((finished / "checkpoints").glob("step-*"))[-1]
    wanted = fingerprint(read(newest))
    newest.unlink()
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, out, err = command("resume", finished)
    assert (code, err) == (0, "")
    assert "unroll: all steps made" in out
    assert list(unequal(fingerprint(read(newest)), wanted)) == []


def test_what_is_no_run_is_said(tmp_path: Path, command: Command):
    code, _, err = command("resume", tmp_path)
    assert code == 2
    assert err == f"error: {tmp_path}: is no run directory: there are no checkpoints in it\n"


def test_a_folder_that_is_not_there_is_told_as_such(tmp_path: Path, command: Command):
    code, _, err = command("resume", tmp_path / "nope")
    assert (code, err) == (2, f"error: {tmp_path / 'nope'}: there is no such folder\n")


def test_a_folder_of_runs_names_the_newest_of_them(finished: Path, command: Command):
    (finished.parent / "2000-01-31T12-00-00" / "checkpoints").mkdir(parents=True)
    code, _, err = command("resume", finished.parent)
    assert code == 2
    assert err.endswith(f"there are no checkpoints in it (did you mean '{finished}'?)\n")


def test_packages_are_allowed_by_the_command_line_only(finished: Path, command: Command):
    origin = json.loads((finished / "origin.json").read_text())
    (finished / "origin.json").write_text(json.dumps({**origin, "allow": ["numpy"]}))
    code, _, err = command("resume", finished)
    assert code == 2
    assert "the run was made with --allow numpy; give that again if you trust it" in err
    assert command("resume", finished, "--allow", "numpy", "-q")[0] == 0


def test_trouble_with_checkpoints_ends_with_4(finished: Path, command: Command):
    for path in (finished / "checkpoints").iterdir():
        path.write_bytes(b"no checkpoint")
    code, _, err = command("resume", finished, "-q")
    assert code == 4
    assert err.endswith("no checkpoint of this run is whole\n")
    assert "Traceback" not in err


def faults(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(TOOL), *words],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def test_killed_runs_end_as_if_nobody_had_touched_them():
    done = faults("--kills", "2", "--graphs", "unroll", "--saves", "3", "--flips", "9")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "kills: 2 of 2 as they should be",
        "saves: 3 of 3 as they should be",
        "flips: 9 of 9 as they should be",
    ]


@pytest.mark.skipif(
    shutil.which("unshare") is None
    or subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False).returncode > 0,
    reason="no disk of its own can be made here",
)
def test_a_full_disk_keeps_the_checkpoint_before():
    done = faults("--fills", "8")
    assert (done.returncode, done.stderr) == (0, "")
    refused, all_well = done.stdout.splitlines()
    assert re.fullmatch(r"fills: [4-7] of 8 had no room", refused)
    assert all_well == "fills: 8 of 8 as they should be"


@pytest.mark.slow
def test_runs_of_all_kinds_survive_kills_and_signals():
    done = faults("--kills", "10", "--signals", "10", "--doubles", "10", "--saves", "20")
    assert done.returncode == 0, done.stdout
