"""What a run tells where nobody watches: a few lines of plain text."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from typing import TextIO

from mlograph.loggers.protocol import Record
from mlograph.terminal import printable_line


def short(value: float) -> str:
    """A number as it is shown while a run goes on: four significant digits."""
    return f"{value:.4g}"


def summary(values: Mapping[str, float]) -> str:
    """`outer.loss 0.25  accuracy 0.9`, safe for a terminal."""
    return "  ".join(f"{printable_line(name)} {short(value)}" for name, value in values.items())


def line(record: Record) -> str:
    """One record as one line of text, safe for a terminal."""
    text = printable_line(record.text)
    return _spaced(f"step {record.step}", record.kind, text, summary(record.values))


def duration(seconds: float) -> str:
    """`12.3 s`, `4 min 05 s`, `2 h 03 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def _spaced(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


class Lines:
    """Prints a line for each validation, baseline and event, and one at the end.

    Args:
        stream: where to; standard output by default.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._total = 0
        self._step = 0
        self._last: Mapping[str, float] = {}

    def start(self, total: int) -> None:
        """Starts the clock."""
        self._began = time.monotonic()
        self._total = total

    def progress(self, step: int) -> None:
        """Nothing is printed between records."""
        self._step = step

    def log(self, record: Record) -> None:
        """Prints what is not a training record."""
        if record.kind == "train":
            self._last = {**self._last, **record.values}
        else:
            self._print(line(record))

    def close(self) -> None:
        """Prints how far the run came, and the last losses."""
        if not self._total:
            return  # The run never began; what stopped it says why.
        took = duration(time.monotonic() - self._began)
        end = f"{self._step} of {self._total} updates in {took}"
        self._print(_spaced(end, summary(self._last)))

    def _print(self, text: str) -> None:
        print(text, file=self._stream or sys.stdout, flush=True)
