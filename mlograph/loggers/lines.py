"""What a run tells where nobody watches: a few lines of plain text."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from mlograph.errors import StorageError
from mlograph.loggers.pace import Pace
from mlograph.loggers.protocol import Record
from mlograph.terminal import printable, printable_line

_SECONDS_BETWEEN_LINES = 30.0


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
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def progress(pace: Pace) -> str:
    """`12.3/s, 1 min 05 s left`; empty as long as it is not known."""
    rate = pace.rate
    if not rate:
        return ""
    speed = f"{short(rate)}/s" if rate >= 1 else f"{duration(1 / rate)} each"
    return f"{speed}, {duration(pace.left)} left" if pace.left > 0 else speed


def _spaced(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


class Lines:
    """Prints a line for each validation, baseline and event, and one at the end.

    Where none of these comes for half a minute, a line tells how far the run is.

    Args:
        stream: where to; standard output by default.

    Raises:
        StorageError: a line cannot be written, as where the disk of a log file is full.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._began = time.monotonic()
        self._pace = Pace(0)
        self._told_at = self._began
        self._step = 0
        self._last: Mapping[str, float] = {}

    def start(self, total: int) -> None:
        """Starts the clock."""
        self._began = self._told_at = time.monotonic()
        self._pace = Pace(total)

    def recall(self, records: Sequence[Record], step: int) -> None:
        """Goes on from `step`, with the losses of then."""
        self._step = step
        self._pace.begin_at(step)
        for record in records:
            if record.kind == "train":
                self._last = {**self._last, **record.values}

    def progress(self, step: int) -> None:
        """Prints how far the run is, if nothing has been printed for a while."""
        self._step = step
        if time.monotonic() - self._told_at >= _SECONDS_BETWEEN_LINES:
            self._pace.note(step)
            far = f"step {step} of {self._pace.total}"
            self._print(_spaced(far, progress(self._pace), summary(self._last)))

    def log(self, record: Record) -> None:
        """Prints what is not a training record."""
        if record.kind == "train":
            self._last = {**self._last, **record.values}
        else:
            self._print(line(record))

    def close(self) -> None:
        """Prints how far the run came, and the last losses."""
        if not self._pace.total:
            return  # The run never began; what stopped it says why.
        took = duration(time.monotonic() - self._began)
        end = f"{self._step} of {self._pace.total} updates in {took}"
        self._print(_spaced(end, summary(self._last)))

    def say(self, text: str) -> None:
        """Prints lines."""
        self._print(printable(text))

    def _print(self, text: str) -> None:
        self._told_at = time.monotonic()
        try:
            print(text, file=self._stream or sys.stdout, flush=True)
        except BrokenPipeError:
            raise  # Whoever reads has enough, as `head` has: what that ends with is the command's.
        except OSError as error:
            reason = error.strerror or error
            raise StorageError(f"standard output: cannot be written: {reason}") from error
