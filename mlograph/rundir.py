"""The folder where everything about one run is kept: `OUTPUT/NAME/TIME/`."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlograph.errors import StorageError, UsageError
from mlograph.locking import alone


@dataclass(frozen=True)
class RunDirectory:
    """A folder that belongs to one run alone.

    Attributes:
        path: the folder, which exists.
    """

    path: Path

    @property
    def metrics(self) -> Path:
        """Where the records go as the run goes on."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Where the state of the run is saved."""
        return self.path / "checkpoints"

    def write(self, name: str, content: str | bytes) -> None:
        """Writes a file of the folder.

        Raises:
            StorageError: it cannot be written.
        """
        write_whole(self.path / name, content)

    def write_origin(self, folder: Path | None, allowed: Sequence[str]) -> None:
        """Notes what a resumed run needs to find its components, beside the graph itself.

        Raises:
            StorageError: it cannot be written.
        """
        where = str(folder.resolve()) if folder is not None else None
        self.write("origin.json", json.dumps({"folder": where, "allow": [*allowed]}, indent=2))

    def origin(self) -> tuple[Path | None, tuple[str, ...]]:
        """The folder of the graph file, and the packages that were allowed beside the usual ones.

        Raises:
            StorageError: this cannot be read.
            UsageError: the run was stopped before it had noted them.
        """
        path = self.path / "origin.json"
        if not path.exists():
            raise UsageError(f"{self.path}: the run was stopped before it began: run it again")
        try:
            found = json.loads(path.read_text("utf-8"))
            folder, allowed = found["folder"], found["allow"]
            return (None if folder is None else Path(folder)), tuple(map(str, allowed))
        except OSError as error:
            raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
        except (ValueError, KeyError, TypeError) as error:
            raise StorageError(f"{path}: is not what a run wrote: {error}") from error

    def held(self) -> AbstractContextManager[int | None]:
        """Nobody else works on this run meanwhile.

        Raises:
            BusyError: somebody does already.
            StorageError: the folder cannot be written.
        """
        return alone(self.path, "run")

    def discard(self) -> None:
        """Removes the folder, and the one above it if nothing else is in there."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


def opened(path: Path) -> RunDirectory:
    """The folder of a run that was made before.

    Raises:
        UsageError: it is none.
    """
    if not path.exists():
        raise UsageError(f"{path}: there is no such folder")
    if not (path / "checkpoints").is_dir():
        hint = _run_below(path)
        raise UsageError(f"{path}: is no run directory: there are no checkpoints in it{hint}")
    return RunDirectory(path)


def _run_below(path: Path) -> str:
    """The newest run in a folder of runs, as a hint; empty where there is none."""
    found = [folder.parent for folder in path.glob("*/checkpoints") if folder.is_dir()]
    # Folders are named by the time when their runs began.
    return f" (did you mean '{max(found)}'?)" if found else ""


def create(output: Path, name: str, now: datetime | None = None) -> RunDirectory:
    """A new folder `output/name/TIME`, with a number added where two runs begin in one second.

    Raises:
        StorageError: the folder cannot be made.
        UsageError: `name` would lead out of `output`.
    """
    # A spec refuses such names; a folder is only ever made where it belongs all the same.
    if not name or name in {".", ".."} or any(c in name for c in "/\\\0:"):
        raise UsageError(f"'{name}' cannot name a folder for runs")
    time = (now or datetime.now()).strftime("%Y-%m-%dT%H-%M-%S")
    for number in itertools.count(1):
        path = output / name / (time if number == 1 else f"{time}-{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            (path / "checkpoints").mkdir()
        except FileExistsError as error:
            if not path.is_dir():
                raise _failure(path, error) from error
        except OSError as error:
            raise _failure(path, error) from error
        else:
            return RunDirectory(path)
    raise AssertionError("numbers do not run out")


def at(path: Path) -> RunDirectory:
    """A new folder of this very name.

    Raises:
        StorageError: the folder cannot be made, or is there already.
    """
    try:
        (path / "checkpoints").mkdir(parents=True)
    except OSError as error:
        raise _failure(path, error) from error
    return RunDirectory(path)


def write_whole(path: Path, content: str | bytes) -> None:
    """Writes a file so that whoever finds it finds all of it, even if the process is killed.

    Raises:
        StorageError: it cannot be written.
    """
    data = content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
    beside = path.with_name(f".{path.name}.partial")
    try:
        beside.write_bytes(data)
        os.replace(beside, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
        raise _failure(path, error) from error


def _failure(path: Path, error: OSError) -> StorageError:
    return StorageError(f"{path}: cannot be written: {error.strerror or error}")
