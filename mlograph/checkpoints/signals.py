"""Signals that ask a run to end: the first waits until its state is saved, the second does not.

And the one that a clock sends, for what a run that ends may do only where it is quick.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, final

# The exit code of a process that such a signal ended, as shells have it.
EXIT_CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


class TooLongError(BaseException):
    """The time is over; no `Exception`, so that no one who catches these goes on."""


@contextmanager
def within(seconds: float | None) -> Iterator[None]:
    """Inside, time is limited; only where there is SIGALRM, and in the main thread.

    Raises:
        TooLongError: what is inside has taken longer.
    """
    main = threading.current_thread() is threading.main_thread()
    if seconds is None or sys.platform == "win32" or not main:
        yield
        return
    before = signal.signal(signal.SIGALRM, _over)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if before is None else before)


def _over(number: int, frame: FrameType | None) -> Any:
    raise TooLongError


@final
class Signals:
    """Notes that SIGINT (Ctrl-C) or SIGTERM came; whoever runs asks between two instructions.

    Args:
        ends_process: the second signal ends the process at once; otherwise it raises a
            KeyboardInterrupt, as Python does, so that a notebook lives on.

    Attributes:
        asked: the first signal, once it came.
    """

    def __init__(self, *, ends_process: bool) -> None:
        self.asked: signal.Signals | None = None
        self._ends_process = ends_process
        self._owner = os.getpid()

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Inside, signals come here; Python allows this in the main thread only."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self._come) for number in EXIT_CODES}
        try:
            yield
        finally:
            for number, handler in before.items():
                # None stands for a handler that was not set from Python.
                signal.signal(number, signal.SIG_DFL if handler is None else handler)

    def _come(self, number: int, frame: FrameType | None) -> Any:
        came = signal.Signals(number)
        if os.getpid() != self._owner:
            _in_a_worker(came)
        elif self.asked is None:
            self.asked = came
        elif self._ends_process:
            if sys.stdout.isatty():
                # A progress bar may have hidden it.
                os.write(sys.stdout.fileno(), b"\x1b[?25h\n")
            os._exit(EXIT_CODES[came])
        else:
            raise KeyboardInterrupt


def _in_a_worker(came: signal.Signals) -> None:
    """What a forked worker of a DataLoader does: a terminal sends Ctrl-C to it as well.

    The run still needs its batches then; it ends its workers itself, by SIGTERM if need be.
    """
    if came is signal.SIGTERM:
        signal.signal(came, signal.SIG_DFL)
        os.kill(os.getpid(), came)
