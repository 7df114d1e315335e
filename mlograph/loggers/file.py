"""A text file that a sink appends whole lines to."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from mlograph.errors import UsageError


class LineFile:
    """A new text file, flushed after every line, so that a run can be followed while it goes on.

    Args:
        path: replaced if it exists; its folder is made if it does not.

    Raises:
        UsageError: the file cannot be written, now or at a later line (a full disk, say).
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: TextIO = self.path.open("w", encoding="utf-8", newline="")
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

    def _failure(self, error: OSError) -> UsageError:
        return UsageError(f"{self.path}: cannot be written: {error.strerror or error}")
