"""A text file that a sink appends whole lines to."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal, TextIO

from mlograph.errors import StorageError


class LineFile:
    """A new text file, flushed after every line, so that a run can be followed while it goes on.

    Args:
        path: replaced if it exists; its folder is made if it does not.

    Raises:
        StorageError: the file cannot be written, now or at a later line (a full disk, say).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = _opened(self.path, "w")
        except OSError as error:
            raise self._failure(error) from error

    @classmethod
    def resumed(cls, path: str | Path, position: int) -> LineFile:
        """The file of an earlier part of a run, cut off after `position` bytes.

        Raises:
            StorageError: it is missing or shorter.
        """
        found = cls.__new__(cls)
        found.path = Path(path)
        try:
            size = found.path.stat().st_size
            if size < position:
                raise StorageError(
                    f"{path}: lines are missing that were there when the run was saved: "
                    f"{size:,} bytes of {position:,}"
                )
            os.truncate(found.path, position)
            found._file = _opened(found.path, "a")
        except OSError as error:
            raise found._failure(error) from error
        return found

    def position(self) -> int:
        """The length in bytes, all of which is on the disk when this returns."""
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            return self.path.stat().st_size
        except OSError as error:
            raise self._failure(error) from error

    def write(self, line: str) -> None:
        """Appends `line` and a line feed."""
        try:
            self._file.write(line + "\n")
            self._file.flush()
        except OSError as error:
            raise self._failure(error) from error

    def close(self) -> None:
        """Closes the file; a second time does nothing."""
        try:
            self._file.close()
        except OSError as error:
            raise self._failure(error) from error

    def _failure(self, error: OSError) -> StorageError:
        return StorageError(f"{self.path}: cannot be written: {error.strerror or error}")


def _opened(path: Path, mode: Literal["w", "a"]) -> TextIO:
    r"""The file; half a character, such as a file's name may hold, is written as `\udc80`.

    That is how JSON writes it, too.
    """
    return path.open(mode, encoding="utf-8", newline="", errors="backslashreplace")
