"""The processes of a sweep."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Protocol, final

from mlograph.campaign.folder import Folder, Request
from mlograph.campaign.job import Job
from mlograph.campaign.outcome import Outcome, reached
from mlograph.campaign.settings import Run
from mlograph.children import CORES, cores

_PAUSE = 0.1


class Source(Protocol):
    """Says which runs are made, one setting after the other."""

    def next(self) -> tuple[Run, ...]:
        """The runs of the next setting; none if there is none, or none yet."""
        ...

    def done(self, runs: Sequence[Run], outcomes: Sequence[Outcome]) -> None:
        """All runs of a setting have ended."""
        ...


@dataclass(frozen=True)
class Going:
    """A run that is going on.

    Attributes:
        run: which.
        step: updates of the counted problem so far, about.
        seconds: since its process began.
    """

    run: Run
    step: int
    seconds: float


class View(Protocol):
    """Shows how a sweep goes on."""

    def ended(self, run: Run, outcome: Outcome, *, kept: bool) -> None:
        """A run has ended; `kept`: in an earlier process."""
        ...

    def going(self, runs: Sequence[Going]) -> None:
        """These runs are going on; called many times a second."""
        ...


@dataclass(frozen=True)
class _Child:
    run: Run
    process: subprocess.Popen[bytes]
    began: float


@final
class Pool:
    """Runs one process for each run, a few at a time.

    Args:
        folder: of the sweep.
        request: says which graph.
        jobs: processes at a time.
        view: is shown everything.
        lock: of the folder; the processes hold it as well, so that nobody goes on with the sweep
            before runs that outlive it have saved their states.

    Attributes:
        outcomes: of the runs that have ended, by name.
        runs: all that were asked for, by name, in order.
    """

    def __init__(
        self, folder: Folder, request: Request, jobs: int, view: View, lock: int | None = None
    ) -> None:
        self.outcomes: dict[str, Outcome] = {}
        self.runs: dict[str, Run] = {}
        self._folder = folder
        self._request = request
        self._jobs = jobs
        self._view = view
        self._inherited = () if lock is None else (lock,)
        self._children: list[_Child] = []
        self._waiting: deque[Run] = deque()
        self._open: dict[int, list[Run]] = {}

    def work(self, source: Source) -> None:
        """Makes all runs of the source.

        Raises:
            KeyboardInterrupt: Ctrl-C or SIGTERM came; the processes have saved their state and
                ended.
        """
        with _terminated_as_interrupted():
            try:
                while self._fill(source) or self._children:
                    time.sleep(_PAUSE)
                    self._reap(source)
                    self._show()
            except BaseException:
                self._stop()
                raise

    def _fill(self, source: Source) -> bool:
        """Starts processes where there is room; whether any are waiting still."""
        while len(self._children) < self._jobs:
            if not self._waiting and not self._ask(source):
                return False
            run = self._waiting.popleft()
            before = self._folder.outcome(run)
            if before is not None and before.finished:
                self._end(run, before, source, kept=True)
                continue
            if before is not None:
                self._folder.forget(run)  # It failed: begun anew.
            self._start(run)
        return bool(self._waiting)

    def _ask(self, source: Source) -> bool:
        runs = source.next()
        for run in runs:
            self.runs[run.name] = run
        if runs:
            self._open[runs[0].setting] = list(runs)
        self._waiting.extend(runs)
        return bool(runs)

    def _start(self, run: Run) -> None:
        job = Job(
            graph=self._request.graph,
            overrides=run.overrides,
            allow=self._request.allow,
            folder=str(self._folder.run(run)),
            outcome=str(self._folder.outcome_file(run)),
        )
        words = [sys.executable, "-P", "-m", "mlograph.campaign.child", job.text()]
        with self._folder.log(run).open("ab") as log:
            # In a session of its own, so that Ctrl-C reaches this process alone, which then asks
            # each child once: a second signal would end a child before it has saved its state.
            process = subprocess.Popen(
                words,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(run, self._jobs),
                start_new_session=True,
                pass_fds=self._inherited,
            )
        self._children.append(_Child(run, process, time.monotonic()))

    def _reap(self, source: Source | None) -> None:
        for child in list(self._children):
            code = child.process.poll()
            if code is None:
                continue
            self._children.remove(child)
            if child.process.stdin is not None:
                child.process.stdin.close()
            outcome = self._folder.outcome(child.run) or _without_outcome(code, child)
            self._end(child.run, outcome, source, kept=False)

    def _end(self, run: Run, outcome: Outcome, source: Source | None, *, kept: bool) -> None:
        self.outcomes[run.name] = outcome
        self._view.ended(run, outcome, kept=kept)
        runs = self._open.get(run.setting, [])
        if source is not None and all(each.name in self.outcomes for each in runs):
            source.done(runs, [self.outcomes[each.name] for each in runs])
            del self._open[run.setting]

    def _show(self) -> None:
        now = time.monotonic()
        self._view.going(
            [
                Going(
                    child.run,
                    reached(self._folder.run(child.run) / "metrics.jsonl"),
                    now - child.began,
                )
                for child in self._children
            ]
        )

    def _stop(self) -> None:
        """Asks the processes to end; a second Ctrl-C, or an error here, ends them at once."""
        try:
            for child in self._children:
                child.process.terminate()
            while self._children:
                time.sleep(_PAUSE)
                self._reap(None)
        finally:
            for child in self._children:
                child.process.kill()
                child.process.wait()


def _without_outcome(code: int, child: _Child) -> Outcome:
    """That of a process which could not say how it ended."""
    seconds = time.monotonic() - child.began
    if code in (130, 143):
        number = signal.Signals(code - 128)
    elif code < 0:
        number = signal.Signals(-code)
    else:
        return Outcome(code or 1, f"its process ended with {code}: see its log", seconds=seconds)
    return Outcome(128 + number, f"stopped by {number.name}", seconds=seconds)


def _environment(run: Run, jobs: int) -> dict[str, str]:
    """That of a child: libraries other than torch keep to its number of threads as well.

    Its own worker processes keep to its share of the cores.
    """
    root = str(Path(__file__).parents[2])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {
        **os.environ,
        "OMP_NUM_THREADS": str(run.threads),
        CORES: str(max(1, cores() // jobs)),
        "PYTHONPATH": os.pathsep.join(paths),
    }


@contextlib.contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Inside, SIGTERM raises a KeyboardInterrupt, as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt(signal.Signals(number).name)

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)
