"""Runs windows of tasks in one of four ways, and finds out which is best."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, final

import torch

from mlograph.envs.protocol import RepeatingEnv
from mlograph.errors import UsageError
from mlograph.plan import EnvStep, Instruction, Tasks, Way
from mlograph.program import Program
from mlograph.randomness import RandomState
from mlograph.tasks.choice import WORKERS, Choice
from mlograph.tasks.distribution import Gathered, number_of
from mlograph.tasks.drawing import Drawn, draw
from mlograph.tasks.processes import Processes
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.tasks.window import Outcome, commit, compute
from mlograph.tasks.worth import against, possible

Execute = Callable[[Instruction], None]
# What came of a window that was not run one by one.
Came = Outcome | Gathered


@final
class TaskRunner:
    """Runs windows; whatever goes wrong with all at once is left to doing them one by one.

    A window that is computed at once changes nothing before all of it is known. Where that fails,
    the same batches go through the instructions one by one, which then have the last word: they
    tell the user's mistakes and handle numbers that are not finite.

    Attributes:
        choices: by upper problem.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        windows = [one for one in program.plan.tasks if isinstance(one, Tasks)]
        self.choices = {one.upper: Choice.among(_ways(one, program)) for one in windows}
        self._remarks: list[str] = []
        self._random: set[str] = set()
        self._processes = Processes(program)

    def close(self) -> None:
        """End the worker processes."""
        self._processes.close()

    def state_dict(self) -> dict[str, Any]:
        """What was found out, and what was chosen by the clock."""
        return {
            "choices": {
                name: {"way": one.way, "seconds": one.seconds} for name, one in self.choices.items()
            },
            "remarks": list(self._remarks),
            "random": sorted(self._random),
            "said": sorted(self._processes.said),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.choices = {name: Choice(**one) for name, one in state["choices"].items()}
        for choice in self.choices.values():
            # Workers start again, and their first window is slow again.
            choice.forget(*WORKERS)
        self._remarks = list(state["remarks"])
        self._random = set(state["random"])
        self._processes.said = set(state["said"])

    def take_remarks(self) -> list[str]:
        """What the user should know and has not been told yet."""
        taken, self._remarks = self._remarks, []
        return taken

    def run(self, window: Tasks, execute: Execute) -> Came | None:
        """Run a window, and give what came of it if it was run at once.

        Raises:
            ProcessError: a worker process that was asked for ended.
            UsageError: it shall always be run at once, and cannot.
        """
        choice = self.choices[window.upper]
        if choice.way == "sequential":
            for instruction in window.instructions:
                execute(instruction)
            return None
        problems = self._program.problems
        drawn = draw(
            window, problems[window.lower], problems[window.upper], lambda: execute(EnvStep())
        )
        if choice.way is None:
            return self._try(window, drawn, execute)
        try:
            return self._run(choice.way, window, drawn, execute)
        except NotAtOnceError as refused:
            self._refused(choice.way, window, refused)
            return None

    def _try(self, window: Tasks, drawn: Drawn, execute: Execute) -> Came | None:
        """Run a window as comes next, and see how long it takes."""
        choice = self.choices[window.upper]
        way, began = choice.next(), _clock(self._program)
        outcome = None
        try:
            outcome = self._run(way, window, drawn, execute)
        except NotAtOnceError as refused:
            # What this costs counts against the way.
            self._refused(way, window, refused)
        seconds = _clock(self._program) - began
        if choice.took(way, outcome.seconds if isinstance(outcome, Gathered) else seconds):
            self._settled(window)
        elif way not in WORKERS and choice.before_workers:
            reason = against(window, self._program, min(choice.best.values()))
            if reason:
                choice.drop(*WORKERS)
                self._settled(window, f"; worker processes are not tried: {reason}")
        return outcome

    def _run(self, way: Way, window: Tasks, drawn: Drawn, execute: Execute) -> Came | None:
        """Run a window in one of the ways.

        Raises:
            NotAtOnceError: it was run one by one, for a reason.
        """
        choice = self.choices[window.upper]
        if way == "vectorized":
            return self._at_once(window, drawn, execute)
        if way in WORKERS:
            one_by_one = partial(self._one_by_one, window, execute)
            found = self._processes.run(
                window, drawn, one_by_one, at_once=way == "both", trial=choice.way is None
            )
            self._remarks += self._processes.take_remarks()
            return found
        before = RandomState.capture(self._program.device)
        self._one_by_one(window, execute, drawn)
        if not before.same(RandomState.capture(self._program.device)):
            raise NotAtOnceError("losses draw random numbers, which would be others")
        return None

    def _at_once(self, window: Tasks, drawn: Drawn, execute: Execute) -> Outcome:
        problems = self._program.problems
        lower, upper = problems[window.lower], problems[window.upper]
        before = RandomState.capture(lower.device)
        try:
            outcome = compute(window, drawn, lower, upper)
            drew = not before.same(RandomState.capture(lower.device))
            if drew and self.choices[window.upper].way is None:
                raise NotAtOnceError("losses draw random numbers, which would be others at once")
        except NotAtOnceError:
            before.restore(lower.device)
            self._one_by_one(window, execute, drawn)
            raise
        if drew and window.upper not in self._random:
            self._random.add(window.upper)
            self._remarks.append(
                f"random numbers in the loops of '{window.lower}' are others at once than one "
                "by one"
            )
        commit(window, drawn, lower, upper, outcome)
        return outcome

    def _one_by_one(self, window: Tasks, execute: Execute, drawn: Drawn) -> None:
        problems = self._program.problems
        with drawn.fed(problems[window.lower], problems[window.upper]):
            for instruction in window.body * len(drawn.lower):
                if not isinstance(instruction, EnvStep):
                    execute(instruction)

    def _refused(self, way: Way, window: Tasks, refused: NotAtOnceError) -> None:
        if not refused.lasting:
            return
        choice = self.choices[window.upper]
        if way == "sequential":
            choice.keep("sequential")
            self._remarks.append(f"the loops of '{window.lower}' run one by one: {refused.reason}")
            return
        why = f"the loops of '{window.lower}' cannot run {_WORDS[way]}: {refused.reason}"
        if window.asked:
            raise UsageError(f"engine.execution.tasks: {why} (write auto or sequential)")
        settled = choice.drop(*(WORKERS if refused.gone else _dropped(way)))
        self._remarks.append(f"{why}; they run {_WORDS[choice.way or 'sequential']}")
        if settled and len(choice.best) > 1:
            self._settled(window)

    def _settled(self, window: Tasks, but: str = "") -> None:
        """Tell what was chosen, and end what was not."""
        choice = self.choices[window.upper]
        if choice.way not in WORKERS:
            self._processes.end(window)
        took = [f"{seconds:.3g} s {_WORDS[way]}" for way, seconds in choice.best.items()]
        listed = " and ".join(filter(None, [", ".join(took[:-1]), took[-1]]))
        self._remarks.append(
            f"{window.count} loops of '{window.lower}' take {listed}: from here "
            f"engine.execution.tasks is {choice.way}{but}"
        )


_WORDS: Mapping[Way, str] = {
    "sequential": "one by one",
    "vectorized": "at once",
    "processes": "in processes",
    "both": "at once in processes",
}


def _dropped(way: Way) -> Sequence[Way]:
    """What cannot be done either where one way cannot."""
    return ("both",) if way == "both" else (way, "both")


def _ways(window: Tasks, program: Program) -> tuple[Way, ...]:
    """Those of the plan that can be tried.

    Raises:
        UsageError: one was asked for, and cannot be.
    """
    # All batches of a window are drawn before its first loop.
    if program.env is not None and isinstance(program.env.env, RepeatingEnv):
        if window.asked:
            raise UsageError(
                "engine.execution.tasks: the next step of the Env follows from what is done with "
                "this one (write auto or sequential)"
            )
        return ("sequential",)
    if window.asked:
        return window.ways
    if not possible(window, program):
        return tuple(way for way in window.ways if way not in WORKERS)
    alone = max(window.shares(number_of(window))) == 1
    return tuple(way for way in window.ways if way != "both" or not alone)


def _clock(program: Program) -> float:
    """Seconds; what a device was given to do before has been done."""
    if program.device.type == "cuda":
        torch.cuda.synchronize(program.device)
    return time.perf_counter()
