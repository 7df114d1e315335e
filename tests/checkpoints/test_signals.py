"""The first signal waits, the second does not."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time

import pytest

from mlograph.checkpoints import EXIT_CODES, Signals, TooLongError, within

forks = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")


@pytest.mark.parametrize("number", EXIT_CODES)
def test_the_first_is_noted_and_the_second_raises(number: signal.Signals):
    signals = Signals(ends_process=False)
    with signals.caught():
        os.kill(os.getpid(), number)
        assert signals.asked is number
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)


def test_handlers_are_as_before_when_it_ends():
    before = [signal.getsignal(number) for number in EXIT_CODES]
    with Signals(ends_process=True).caught():
        assert signal.getsignal(signal.SIGINT) not in before
    assert [signal.getsignal(number) for number in EXIT_CODES] == before


@forks
def test_the_second_ends_the_process_where_it_shall():
    child = os.fork()
    if not child:
        signals = Signals(ends_process=True)
        with signals.caught():
            os.kill(os.getpid(), signal.SIGTERM)
            os.kill(os.getpid(), signal.SIGINT)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 130


@forks
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 7), (signal.SIGTERM, -15)])
def test_a_forked_worker_outlives_ctrl_c_but_can_be_ended(number: signal.Signals, code: int):
    with Signals(ends_process=True).caught():
        child = os.fork()
        if not child:
            for _ in range(2):
                os.kill(os.getpid(), number)
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == code


def test_other_threads_leave_signals_alone():
    found = []

    def look() -> None:
        with Signals(ends_process=True).caught():
            found.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=look)
    before = signal.getsignal(signal.SIGINT)
    thread.start()
    thread.join()
    assert found == [before]


def test_what_takes_too_long_is_ended_and_what_does_not_is_not():
    before = signal.getsignal(signal.SIGALRM)
    with within(30.0):
        pass
    began = time.monotonic()
    with pytest.raises(TooLongError), within(0.05):
        while time.monotonic() - began < 60:
            # What catches exceptions does not catch this.
            with contextlib.suppress(Exception):
                time.sleep(0.01)
    assert time.monotonic() - began < 30
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_there_need_be_no_limit():
    with within(None):
        assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
