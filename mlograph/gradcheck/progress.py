"""What a check is doing, in one line."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from typing import TextIO, final

from mlograph.terminal import printable_line

# Seconds between two lines where a line cannot be written over.
_PAUSE = 10.0


@final
class Progress:
    """Writes what it is told to a stream: over the last line of a terminal, else now and then."""

    def __init__(self, stream: TextIO, now: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._now = stream, now
        self._began = self._written = now()
        self._over = stream.isatty()

    def __call__(self, text: str) -> None:
        """Say what is being computed, and since when the check has been going on."""
        at = self._now()
        if not self._over and at - self._written < _PAUSE:
            return
        self._written = at
        line = printable_line(f"{at - self._began:4.0f} s  {text}")
        if self._over:
            width = shutil.get_terminal_size().columns - 1
            self._write(f"\r{line[:width]}\x1b[K")
        else:
            self._write(f"{line}\n")

    def end(self) -> None:
        """Leave an empty line where the last one was."""
        if self._over:
            self._write("\r\x1b[K")

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
