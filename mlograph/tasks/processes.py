"""Windows in worker processes, which are started when the first of them comes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from typing import Protocol, final

from mlograph import trees
from mlograph.errors import ProcessError
from mlograph.plan import Tasks
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.tasks.distribution import Distribution, Gathered, number_of, one_thread
from mlograph.tasks.drawing import Drawn
from mlograph.tasks.messages import Done
from mlograph.tasks.refusal import GoneError, NotAtOnceError
from mlograph.tasks.window import compute
from mlograph.trees import Vector

OneByOne = Callable[[Drawn], None]


@final
class Processes:
    """Runs windows so, and tells what their workers remarked.

    Attributes:
        remarks: what the user should know and has not been told yet.
        said: all that there was to know so far.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self._distributions: dict[str, Distribution] = {}
        self.remarks: list[str] = []
        self.said: set[str] = set()

    def run(
        self,
        window: Tasks,
        drawn: Drawn,
        one_by_one: OneByOne,
        *,
        at_once: bool = False,
        trial: bool = False,
    ) -> Gathered:
        """Run a window.

        Of the first one, what the first worker begins with is run here as well, which shows that
        the numbers of the workers are right.

        Args:
            window: whose loops they are.
            drawn: their batches.
            one_by_one: runs some of the loops in this process.
            at_once: each worker runs a share of the loops at once.
            trial: compare again, since what only this process knows may change from window to
                window.

        Raises:
            NotAtOnceError: it was run one by one, for a reason.
            ProcessError: a worker process that was asked for cannot be started, or has ended.
        """
        compiling, both = self._program.compiling, (window.lower, window.upper)
        first = self._first(window, drawn, None if at_once else one_by_one)
        # What this process does of the loops says little of how long they take.
        compiling.follow(both, follows=True)
        try:
            answers, seconds = self._answers(window, first, at_once=at_once, trial=trial)
        except NotAtOnceError as refused:
            if refused.lasting:
                self.end(window)
            one_by_one(first.left)
            raise
        except GoneError as gone:
            self.end(window)
            if window.asked:
                raise ProcessError(
                    f"engine.execution.tasks: {gone.reason} (write sequential to do without)"
                ) from gone
            one_by_one(first.left)
            raise NotAtOnceError(gone.reason, gone=True) from gone
        for answer in answers:
            compiling.adopt(answer.compiled or {})
            self._remark(answer.told)
        gathered = Gathered(answers[first.made :], seconds)
        self._distributions[window.upper].commit(drawn, gathered.answers)
        self._pass_on(window, gathered)
        return gathered

    def take_remarks(self) -> list[str]:
        """What the user should know and has not been told yet."""
        taken, self.remarks = self.remarks, []
        return taken

    def end(self, window: Tasks) -> None:
        """End the workers of a window, which may be in the middle of it."""
        self._program.compiling.follow((window.lower, window.upper), follows=False)
        if window.upper in self._distributions:
            self._distributions.pop(window.upper).close()

    def close(self) -> None:
        """End the workers."""
        while self._distributions:
            self._distributions.popitem()[1].close()

    def _answers(
        self, window: Tasks, first: _First, *, at_once: bool, trial: bool
    ) -> tuple[tuple[Done, ...], float]:
        """What the workers found, and the seconds that it took."""
        began = time.perf_counter()
        there = self._distribution(window)
        answers = there.finish(there.begin(first.left, at_once=at_once))
        seconds = time.perf_counter() - began
        if not window.asked and any(answer.drew for answer in answers):
            raise NotAtOnceError("losses draw random numbers, which would be others in processes")
        if trial or not there.compared:
            # What is chosen by the clock draws what it would draw one by one, or is not chosen.
            with there.as_in_a_worker(0) if window.asked else one_thread():
                here = first.run()
            there.compare(answers[0], here)
        return answers, seconds

    def _first(self, window: Tasks, drawn: Drawn, one_by_one: OneByOne | None) -> _First:
        lower, upper = (self._program.problems[name] for name in (window.lower, window.upper))
        if one_by_one is not None:
            return _FirstLoop(window, drawn, upper, one_by_one)
        return _FirstShare(window, drawn, lower, upper)

    def _distribution(self, window: Tasks) -> Distribution:
        if window.upper not in self._distributions:
            self._distributions[window.upper] = Distribution(window, self._program)
        return self._distributions[window.upper]

    def _pass_on(self, window: Tasks, gathered: Gathered) -> None:
        """What workers printed and remarked, as if it had been here."""
        for answer in gathered.answers:
            for stream, text in zip((sys.stdout, sys.stderr), answer.printed, strict=True):
                if text:
                    stream.write(text)
            self._remark(answer.remarks)
        if gathered.drew:
            name = window.lower
            self._remark(
                [f"random numbers in the loops of '{name}' are others in processes than one by one"]
            )

    def _remark(self, texts: Sequence[str]) -> None:
        new = [text for text in texts if text not in self.said]
        self.said.update(new)
        self.remarks += new


class _First(Protocol):
    """What the first worker begins with, to be run in this process as well."""

    left: Drawn
    """The loops whose gradients have not been accumulated here."""
    made: int
    """How many have been."""

    def run(self) -> Vector:
        """Run it; what it adds to the gradient of the upper problem."""
        ...


@final
class _FirstLoop:
    """One loop, which counts as done."""

    def __init__(self, window: Tasks, drawn: Drawn, upper: Problem, one_by_one: OneByOne) -> None:
        self.left, self.made = drawn, 0
        self._sizes = (1, window.count - 1)
        self._upper = upper
        self._one_by_one = one_by_one

    def run(self) -> Vector:
        """Run it one by one."""
        alone, self.left = self.left.chunks(self._sizes)
        self._one_by_one(alone)
        self.made = 1
        return {n: p.grad for n, p in self._upper.model.params.items() if p.grad is not None}


@final
class _FirstShare:
    """Several loops at once; nothing is kept of them."""

    def __init__(self, window: Tasks, drawn: Drawn, lower: Problem, upper: Problem) -> None:
        self.left, self.made = drawn, 0
        size = window.shares(number_of(window))[0]
        self._window = window.share(size)
        self._drawn = next(drawn.chunks([size]))
        self._lower, self._upper = lower, upper

    def run(self) -> Vector:
        """Run them at once; what they print is printed when it comes from the worker."""
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            found = compute(self._window, self._drawn, self._lower, self._upper)
        return trees.scale(1.0 / self._upper.spec.gradient_accumulation, found.gradient)
