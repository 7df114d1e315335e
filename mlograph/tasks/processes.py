"""Windows in worker processes, which are started when the first of them comes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import final

from mlograph.plan import Tasks
from mlograph.program import Program
from mlograph.tasks.distribution import Distribution, Gathered
from mlograph.tasks.drawing import Drawn
from mlograph.tasks.refusal import NotAtOnceError


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

    def run(self, window: Tasks, drawn: Drawn, one_by_one: Callable[[Drawn], None]) -> Gathered:
        """Run a window.

        Of the first one, the first loop is run here as well, which shows that the numbers of the
        workers are right.

        Args:
            window: whose loops they are.
            drawn: their batches.
            one_by_one: runs some of the loops in this process.

        Raises:
            NotAtOnceError: it was run one by one, for a reason.
            ProcessError: a worker process cannot be started, or has ended.
        """
        left = drawn
        compiling, both = self._program.compiling, (window.lower, window.upper)
        # What this process does of the loops says little of how long they take.
        compiling.follow(both, follows=True)
        try:
            there = self._distribution(window)
            owed = there.begin(drawn)
            first = 0 if there.compared else 1
            if first:
                alone, left = drawn.chunks((1, window.count - 1))
                with there.as_in_a_worker(0):
                    one_by_one(alone)
            answers = there.finish(owed)
            if first:
                there.compare(answers[0])
        except NotAtOnceError as refused:
            compiling.follow(both, follows=not refused.lasting)
            one_by_one(left)
            raise
        for answer in answers:
            compiling.adopt(answer.compiled or {})
            self._remark(answer.told)
        gathered = Gathered(answers[first:])
        there.commit(drawn, gathered.answers)
        self._pass_on(window, gathered)
        return gathered

    def take_remarks(self) -> list[str]:
        """What the user should know and has not been told yet."""
        taken, self.remarks = self.remarks, []
        return taken

    def close(self) -> None:
        """End the workers."""
        while self._distributions:
            self._distributions.popitem()[1].close()

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
