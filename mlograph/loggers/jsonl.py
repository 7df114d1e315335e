"""One JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from mlograph.errors import StorageError
from mlograph.loggers.file import LineFile
from mlograph.loggers.protocol import Record
from mlograph.loggers.row import record, row


class Jsonl:
    """Writes every record as one line of JSON: `{"kind": …, "step": …, "seconds": …, NAME: …}`.

    Numbers that are not finite are the strings `"nan"`, `"inf"` and `"-inf"`.

    Args:
        path: the file, replaced if it exists.
    """

    default: ClassVar[str] = "metrics.jsonl"

    def __init__(self, path: str | Path = default) -> None:
        self.path = path
        self._file: LineFile | None = None

    @property
    def name(self) -> str:
        """That of the file, without its folder."""
        return Path(self.path).name

    def placed(self, path: Path) -> Jsonl:
        """The same, writing to another file."""
        return Jsonl(path)

    def start(self, total: int) -> None:
        """Opens the file."""
        self._file = LineFile(self.path)

    def position(self) -> int:
        """Bytes written."""
        assert self._file is not None, "position before start"
        return self._file.position()

    def resume(self, total: int, position: int) -> tuple[Record, ...]:
        """Goes on after the first `position` bytes, which are read."""
        self._file = LineFile.resumed(self.path, position)
        return read(self.path)

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


def read(path: str | Path) -> tuple[Record, ...]:
    """The records that a `Jsonl` wrote.

    Raises:
        StorageError: the file cannot be read, or holds something else.
    """
    try:
        return tuple(record(json.loads(line)) for line in lines(Path(path).read_text("utf-8")))
    except OSError as error:
        raise StorageError(f"{path}: cannot be read: {error.strerror or error}") from error
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise StorageError(f"{path}: holds something else than records: {error}") from error


def lines(text: str) -> list[str]:
    """The lines of a file of JSON, of which the last may lack its end.

    Only a line feed ends one: a text may hold what `str.splitlines` takes for an end as well.
    """
    *whole, rest = text.split("\n")
    return [*whole, rest] if rest else whole
