"""The folder where everything about one run is kept: `OUTPUT/NAME/TIME/`."""

from __future__ import annotations

import contextlib
import itertools
import shutil
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mlograph.errors import UsageError


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
            UsageError: it cannot be written.
        """
        target = self.path / name
        data = (
            content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace")
        )
        try:
            target.write_bytes(data)
        except OSError as error:
            raise _failure(target, error) from error

    def discard(self) -> None:
        """Removes the folder, and the one above it if nothing else is in there."""
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()


def create(output: Path, name: str, now: datetime | None = None) -> RunDirectory:
    """A new folder `output/name/TIME`, with a number added where two runs begin in one second.

    Raises:
        UsageError: the folder cannot be made, or `name` would lead out of `output`.
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


def _failure(path: Path, error: OSError) -> UsageError:
    return UsageError(f"{path}: cannot be written: {error.strerror or error}")
