"""The folder of a run, the state of the code and the environment."""

import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from mlograph import environment, revision, rundir
from mlograph.errors import StorageError, UsageError

NOON = datetime(2026, 1, 31, 12, 0, 0)


def test_the_folder_is_named_after_the_graph_and_the_time(tmp_path: Path):
    directory = rundir.create(tmp_path / "runs", "imaml", NOON)
    assert directory.path == tmp_path / "runs" / "imaml" / "2026-01-31T12-00-00"
    assert directory.checkpoints.is_dir()


def test_runs_that_begin_in_the_same_second_get_folders_of_their_own(tmp_path: Path):
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: rundir.create(tmp_path, "g", NOON).path, range(16)))
    assert len(set(made)) == 16
    assert {path.name for path in made} == {
        "2026-01-31T12-00-00",
        *(f"2026-01-31T12-00-00-{number}" for number in range(2, 17)),
    }


@pytest.mark.parametrize("name", ["", ".", "..", "../up", "a/b", "/tmp/x", "a\\b", "a\0b", "C:x"])
def test_no_name_leads_out_of_the_output(name: str, tmp_path: Path):
    with pytest.raises(UsageError, match="cannot name a folder"):
        rundir.create(tmp_path / "runs", name, NOON)
    assert not (tmp_path / "runs").exists()


def test_an_output_that_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "runs").write_text("")
    with pytest.raises(UsageError, match=r"runs/g/.*: cannot be written: "):
        rundir.create(tmp_path / "runs", "g", NOON)


def test_a_name_that_is_a_file_is_named(tmp_path: Path):
    (tmp_path / "g").write_text("")
    with pytest.raises(UsageError, match=r"/g/.*: cannot be written: "):
        rundir.create(tmp_path, "g", NOON)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_may_not_be_written_is_named(tmp_path: Path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be written: Permission denied"):
        rundir.create(tmp_path, "g", NOON)


def test_files_are_written_as_text_or_as_bytes(tmp_path: Path):
    directory = rundir.create(tmp_path, "g", NOON)
    directory.write("plan.txt", "16 × Step, \udc80\n")
    directory.write("graph.png", b"\x89PNG")
    assert (directory.path / "plan.txt").read_text() == "16 × Step, \\udc80\n"
    assert (directory.path / "graph.png").read_bytes() == b"\x89PNG"
    with pytest.raises(UsageError, match=r"no/such: cannot be written: No such file"):
        directory.write("no/such", "")


def test_a_discarded_folder_leaves_nothing_but_other_runs(tmp_path: Path):
    first = rundir.create(tmp_path, "g", NOON)
    second = rundir.create(tmp_path, "g", NOON)
    second.write("plan.txt", "")
    second.discard()
    assert first.path.is_dir()
    assert not second.path.exists()
    first.discard()
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q")
    (folder / "losses.py").write_text("old\n")
    git(folder, "add", ".")
    git(folder, "-c", "user.name=n", "-c", "user.email=e@x", "commit", "-qm", "first")
    return folder


def git(folder: Path, *arguments: str):
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True)
    return done.stdout.decode().strip()


def test_the_diff_tells_revision_changes_and_untracked_files(repository: Path):
    (repository / "losses.py").write_text("new\n")
    (repository / "graph.yaml").write_text("")
    lines = revision.diff(repository).splitlines()
    assert lines[0] == f"# revision {git(repository, 'rev-parse', 'HEAD')}"
    assert lines[1] == "# untracked graph.yaml"
    assert "-old" in lines
    assert "+new" in lines


def test_the_diff_can_be_applied(repository: Path):
    (repository / "losses.py").write_text("new\n")
    (repository / "graph.yaml").write_text("")
    patch = revision.diff(repository)
    git(repository, "checkout", "-q", "losses.py")
    subprocess.run(["git", "apply"], cwd=repository, input=patch.encode(), check=True)
    assert (repository / "losses.py").read_text() == "new\n"


def test_only_the_folder_of_the_graph_is_looked_at(repository: Path):
    (repository / "losses.py").write_text("new\n")
    (repository / "graphs").mkdir()
    assert "+new" not in revision.diff(repository / "graphs")


def test_no_program_that_the_repository_configures_is_started(repository: Path):
    trap = repository / ".git" / "trap"
    trap.write_text(f'#!/bin/sh\ntouch {repository}/sprung\ncat "$1"\n')
    trap.chmod(0o755)
    (repository / ".gitattributes").write_text("*.py diff=trap\n")
    git(repository, "config", "diff.external", str(trap))
    git(repository, "config", "diff.trap.textconv", str(trap))
    git(repository, "config", "diff.trap.command", str(trap))
    git(repository, "config", "core.fsmonitor", str(trap))
    (repository / "losses.py").write_text("new\n")
    assert "+new" in revision.diff(repository)
    assert not (repository / "sprung").exists()


def test_a_large_diff_is_cut_off_and_says_so(repository: Path):
    (repository / "losses.py").write_text("line\n" * 100_000)
    text = revision.diff(repository, limit=1000)
    assert text.endswith("\n# cut off after 1000 bytes\n")
    assert len(text) < 1200


def test_without_a_repository_there_is_no_diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    (tmp_path / "plain").mkdir()
    assert revision.diff(tmp_path / "plain") == ""


def test_without_git_there_is_no_diff(repository: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", "")
    assert revision.diff(repository) == ""


def test_the_environment_tells_versions_but_no_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MLOGRAPH_TEST_SECRET", "hunter2")
    text = environment.describe("cuda:1")
    for word in ("python", "platform", "threads", "torch", "numpy", "cuda:1 (available: "):
        assert word in text
    assert "hunter2" not in text


def test_a_folder_of_a_given_name_is_made_once(tmp_path: Path):
    assert rundir.at(tmp_path / "runs" / "lr=1").checkpoints.is_dir()
    with pytest.raises(StorageError, match="lr=1: cannot be written: File exists"):
        rundir.at(tmp_path / "runs" / "lr=1")
