"""One JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path

from mlograph.loggers.file import LineFile
from mlograph.loggers.protocol import Record
from mlograph.loggers.row import row


class Jsonl:
    """Writes every record as one line of JSON: `{"kind": …, "step": …, "seconds": …, NAME: …}`.

    Numbers that are not finite are the strings `"nan"`, `"inf"` and `"-inf"`.

    Args:
        path: the file, replaced if it exists.
    """

    def __init__(self, path: str | Path = "metrics.jsonl") -> None:
        self._path = path
        self._file: LineFile | None = None

    def start(self, total: int) -> None:
        """Opens the file."""
        self._file = LineFile(self._path)

    def progress(self, step: int) -> None:
        """Nothing is written between records."""

    def log(self, record: Record) -> None:
        """Writes one line."""
        assert self._file is not None, "log before start"
        self._file.write(json.dumps(row(record), ensure_ascii=False, allow_nan=False))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()
