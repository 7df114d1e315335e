"""Comma-separated values, one measured value a line."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import ClassVar

from mlograph.loggers.file import LineFile
from mlograph.loggers.protocol import Record
from mlograph.loggers.row import cell, number

COLUMNS = ("kind", "step", "seconds", "name", "value", "text")


class Csv:
    """Writes one line for every value of a record, with the columns `COLUMNS`.

    Problems and validators log different names at different steps, so names are a column and not
    columns: the file can be written as the run goes on, and a pivot gives one column a name.
    A record without values is one line with an empty name. Names and texts are safe to look at, in
    a terminal as in a spreadsheet: see `cell`.

    Args:
        path: the file, replaced if it exists.
    """

    default: ClassVar[str] = "metrics.csv"

    def __init__(self, path: str | Path = default) -> None:
        self.path = path
        self._file: LineFile | None = None

    @property
    def name(self) -> str:
        """That of the file, without its folder."""
        return Path(self.path).name

    def placed(self, path: Path) -> Csv:
        """The same, writing to another file."""
        return Csv(path)

    def start(self, total: int) -> None:
        """Opens the file and writes its header."""
        self._file = LineFile(self.path)
        self._write(COLUMNS)

    def position(self) -> int:
        """Bytes written."""
        assert self._file is not None, "position before start"
        return self._file.position()

    def resume(self, total: int, position: int) -> tuple[Record, ...]:
        """Goes on after the first `position` bytes; they are not read."""
        self._file = LineFile.resumed(self.path, position)
        return ()

    def progress(self, step: int) -> None:
        """Nothing is written between records."""

    def log(self, record: Record) -> None:
        """Writes a line for every value."""
        moment = (record.kind, record.step, round(record.seconds, 6))
        text = cell(record.text)
        for name, value in record.values.items():
            self._write((*moment, cell(name), number(value), text))
        if not record.values:
            self._write((*moment, "", "", text))

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            self._file.close()

    def _write(self, cells: tuple[str | int | float, ...]) -> None:
        assert self._file is not None, "log before start"
        line = io.StringIO()
        # The writer quotes a cell for the line ends of its own terminator only, so it has both.
        csv.writer(line, lineterminator="\r\n").writerow(cells)
        self._file.write(line.getvalue().removesuffix("\r\n"))
