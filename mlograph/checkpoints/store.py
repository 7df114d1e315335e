"""The checkpoints of one run: the last few, and the best."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch.types import Storage

from mlograph.checkpoints.files import PARTIAL, SUFFIX, DamagedError, read, write
from mlograph.errors import StorageError

BEST = f"best{SUFFIX}"


@dataclass(frozen=True)
class Found:
    """A checkpoint that was read.

    Attributes:
        path: its file.
        state: what was saved.
        remarks: what was wrong with newer ones.
    """

    path: Path
    state: dict[str, Any]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Store:
    """A folder of checkpoints.

    Attributes:
        folder: where they are; it exists.
        keep: how many of the last ones are kept.
    """

    folder: Path
    keep: int = 2

    def save(self, state: dict[str, Any], step: int, executed: int) -> Path:
        """Write one more, then remove those that are no longer among the last ones.

        Args:
            state: what to save, in plain containers.
            step: updates of the counted problem, for people.
            executed: instructions, which tell checkpoints of the same step apart.

        Raises:
            StorageError: it cannot be written; all older ones are still there.
        """
        path = self.folder / f"step-{step:08d}-{executed:010d}{SUFFIX}"
        try:
            write(path, state)
        except StorageError as error:
            left = self.paths()
            kept = f"; {left[0].name} is still there" if left else ""
            raise StorageError(f"{error}{kept}") from error
        for old in self.paths()[self.keep :]:
            # What cannot be removed does no harm.
            with contextlib.suppress(OSError):
                old.unlink()
        return path

    def save_best(self, state: dict[str, Any]) -> Path:
        """Write the best one, which is kept beside the last ones.

        Raises:
            StorageError: it cannot be written; the one before it is still there.
        """
        write(self.folder / BEST, state)
        return self.folder / BEST

    def paths(self) -> list[Path]:
        """The last ones, the newest first."""
        return sorted(self.folder.glob(f"step-*{SUFFIX}"), key=_executed, reverse=True)

    def load(self, place: Callable[[Storage, str], Storage] | None = None) -> Found | None:
        """The newest one that is whole; None where none was ever written.

        Raises:
            StorageError: there are some, and none is whole.
        """
        remarks: list[str] = []
        best = self.folder / BEST
        for path in [*self.paths(), *([best] if best.exists() else [])]:
            if remarks:
                remarks[-1] += f"; going back to {path.name}"
            try:
                return Found(path, read(path, place), tuple(remarks))
            except DamagedError as error:
                remarks.append(f"{path}: {error}")
            except OSError as error:
                remarks.append(f"{path}: cannot be read: {error.strerror or error}")
        if remarks:
            raise StorageError("\n".join([*remarks, "no checkpoint of this run is whole"]))
        return None

    def clean(self) -> None:
        """Remove what writers that were killed have left behind."""
        for left in self.folder.glob(f".*{SUFFIX}.*{PARTIAL}"):
            number = left.name.removesuffix(PARTIAL).rpartition(".")[2]
            if not _is_running(number):
                with contextlib.suppress(OSError):
                    left.unlink()


def _executed(path: Path) -> tuple[int, str]:
    number = path.stem.rpartition("-")[2]
    return (int(number) if number.isdecimal() else -1, path.name)


def _is_running(number: str) -> bool:
    """Whether another process of this number lives, where the system can tell."""
    if os.name != "posix" or not number.isdecimal() or int(number) == os.getpid():
        return False
    try:
        os.kill(int(number), 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
