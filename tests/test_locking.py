"""One process at a time works in a folder, and a killed one leaves nothing to clean up."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mlograph import cli, load, rundir
from mlograph.errors import BusyError, StorageError
from mlograph.locking import alone

FAULTS = Path(__file__).parent / "faults"
HOLD = """\
import os, sys, time
from pathlib import Path
from mlograph.locking import alone

with alone(Path(sys.argv[1]), "run"):
    child = os.fork() if "fork" in sys.argv else 0
    # Said by the worker itself, so that it has let go by then.
    print(os.getpid(), flush=True) if not child else None
    time.sleep(60)
"""


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(Path(cli.__file__).parents[1])}


@contextmanager
def started(*words: str | Path) -> Iterator[subprocess.Popen[str]]:
    """A process, killed at the end."""
    process = subprocess.Popen(
        [sys.executable, "-P", *map(str, words)],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    with process:
        try:
            yield process
        finally:
            process.kill()


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()


def holders(lock: Path) -> set[int]:
    """The processes that have a file open; none where the system does not tell."""
    found = set()
    for entry in Path("/proc").glob("[0-9]*/fd/*"):
        with suppress(OSError):
            if entry.readlink() == lock:
                found.add(int(entry.parts[2]))
    return found


def test_the_second_one_is_told_who_the_first_is(tmp_path: Path):
    with started("-c", HOLD, tmp_path) as holder:
        first_line(holder)
        with pytest.raises(BusyError) as caught, alone(tmp_path, "run"):
            pass
    told = f"{tmp_path}: another process ({holder.pid}) is working on this run"
    assert str(caught.value) == f"{told}; wait until it has ended"
    assert caught.value.exit_code == 2
    # It was killed.
    with alone(tmp_path, "run"):
        assert (tmp_path / "lock").read_text() == str(os.getpid())


def test_a_forked_worker_that_outlives_its_process_holds_nothing(tmp_path: Path):
    with started("-c", HOLD, tmp_path, "fork") as holder:
        worker = int(first_line(holder))
        try:
            holder.kill()
            holder.wait()
            os.kill(worker, 0)
            with alone(tmp_path, "run"):
                pass
        finally:
            os.kill(worker, signal.SIGKILL)


def test_a_process_that_inherits_the_lock_holds_it(tmp_path: Path):
    with alone(tmp_path, "sweep") as lock:
        assert lock is not None
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=-1, pass_fds=(lock,))
    with pytest.raises(BusyError), alone(tmp_path, "sweep"):
        pass
    child.communicate(b"\n")
    with alone(tmp_path, "sweep"):
        pass


def test_the_same_process_holds_it_once(tmp_path: Path):
    with alone(tmp_path, "run"):
        with pytest.raises(BusyError), alone(tmp_path, "run"):
            pass
        with pytest.raises(BusyError), alone(tmp_path, "run"):
            pass


def test_whoever_took_it_and_is_gone_is_not_named(tmp_path: Path):
    with alone(tmp_path, "sweep"):
        (tmp_path / "lock").write_text("999999999")
        with pytest.raises(BusyError, match="another process is working"), alone(tmp_path, "s"):
            pass


def test_a_folder_that_is_not_there_is_said(tmp_path: Path):
    with (
        pytest.raises(StorageError, match=r"none/lock: cannot be written: No such file"),
        alone(tmp_path / "none", "run"),
    ):
        pass


def test_a_disk_without_locks_locks_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def unknown(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", unknown)
    with alone(tmp_path, "run") as lock:
        assert lock is None


def test_a_run_that_another_process_works_on_is_not_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    shutil.copy(FAULTS / "parts.py", tmp_path / "held_parts.py")
    text = (FAULTS / "unroll.yaml").read_text().replace("parts.", "held_parts.")
    (tmp_path / "unroll.yaml").write_text(text)
    load(tmp_path / "unroll.yaml", ["engine.steps=1"]).run(tmp_path / "runs", quiet=True)
    (directory,) = tmp_path.glob("runs/unroll/*")

    def resumed() -> int:
        monkeypatch.setattr(sys, "argv", ["mlograph", "resume", str(directory), "-q"])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        return int(caught.value.code or 0)

    with started("-c", HOLD, directory) as holder:
        first_line(holder)
        before = {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
        assert resumed() == 2
        told = f"error: {directory}: another process ({holder.pid}) is working on this run"
        assert capsys.readouterr().err.startswith(told)
        assert {p: p.read_bytes() for p in directory.rglob("*") if p.is_file()} == before
    assert resumed() == 0


@pytest.mark.slow
def test_a_run_that_goes_on_is_not_resumed_until_it_is_killed(tmp_path: Path):
    shutil.copy(FAULTS / "parts.py", tmp_path / "parts.py")
    shutil.copy(FAULTS / "workers.yaml", tmp_path / "workers.yaml")
    resume = [sys.executable, "-P", "-m", "mlograph", "resume", "-q"]
    words = (tmp_path / "workers.yaml", "engine.steps=1000000", "-q", "-o", tmp_path / "runs")
    with started("-m", "mlograph", "run", *words) as first:
        while not list(tmp_path.glob("runs/*/*/checkpoints/*.ckpt")):
            assert first.poll() is None
            time.sleep(0.02)
        (directory,) = tmp_path.glob("runs/workers/*")
        second = subprocess.run(
            [*resume, directory], capture_output=True, text=True, check=False, env=environment()
        )
        assert second.returncode == 2
        assert f"another process ({first.pid}) is working on this run" in second.stderr
        # A worker that is being forked just now lets go as the first thing that it does.
        first.send_signal(signal.SIGSTOP)
        deadline = time.monotonic() + 60
        while not holders(directory / "lock") <= {first.pid}:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    # Workers of the killed one may live still; they hold nothing.
    with rundir.opened(directory).held():
        pass
