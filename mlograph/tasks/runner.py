"""Runs windows of tasks at once or one by one, and finds out which is better."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, final

import torch

from mlograph.errors import MlographError, UsageError
from mlograph.plan import EnvStep, Instruction, Tasks
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.randomness import RandomState
from mlograph.tasks.choice import Choice, Way
from mlograph.tasks.distribution import Gathered
from mlograph.tasks.drawing import Drawn, draw
from mlograph.tasks.processes import Processes
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.tasks.window import Outcome, commit, compute

Execute = Callable[[Instruction], None]


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
        self.choices: dict[str, Choice] = {
            one.upper: Choice(_asked_for(one))
            for one in program.plan.tasks
            if isinstance(one, Tasks)
        }
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
        self._remarks = list(state["remarks"])
        self._random = set(state["random"])
        self._processes.said = set(state["said"])

    def take_remarks(self) -> list[str]:
        """What the user should know and has not been told yet."""
        taken, self._remarks = self._remarks, []
        return taken

    def run(self, window: Tasks, execute: Execute) -> Outcome | Gathered | None:
        """Run a window, and give what came of it if it was run at once.

        Raises:
            ProcessError: a worker process ended.
            UsageError: it shall always be run at once, and cannot.
        """
        choice = self.choices[window.upper]
        if choice.way == "sequential":
            for instruction in window.instructions:
                execute(instruction)
            return None
        problems = self._program.problems
        lower, upper = problems[window.lower], problems[window.upper]
        drawn = draw(window, lower, upper, lambda: execute(EnvStep()))
        if choice.way == "processes":
            return self._in_processes(window, drawn, execute)
        way, began = choice.next(), self._clock()
        outcome = None
        try:
            if way == "vectorized":
                outcome = self._at_once(window, drawn, lower, upper)
                commit(window, drawn, lower, upper, outcome)
            else:
                self._one_by_one(window, drawn, execute)
        except NotAtOnceError as refused:
            # What this costs counts against doing all at once.
            self._one_by_one(window, drawn, execute)
            self._refused(window, refused)
        if choice.took(way, self._clock() - began):
            self._tell(window, choice)
        return outcome

    def _at_once(self, window: Tasks, drawn: Drawn, lower: Problem, upper: Problem) -> Outcome:
        """A whole window, computed; the problems know nothing of it yet.

        Raises:
            NotAtOnceError: whatever the reason.
        """
        before = RandomState.capture(lower.device)
        try:
            outcome = compute(window, drawn, lower, upper)
            drew = not before.same(RandomState.capture(lower.device))
            if drew and self.choices[window.upper].way is None:
                raise NotAtOnceError("losses draw random numbers, which would be others at once")
        except NotAtOnceError:
            before.restore(lower.device)
            raise
        except (MlographError, RuntimeError) as error:
            before.restore(lower.device)
            raise NotAtOnceError(_first_sentence(str(error))) from error
        if drew and window.upper not in self._random:
            self._random.add(window.upper)
            self._remarks.append(
                f"random numbers in the loops of '{window.lower}' are others at once than one "
                "by one"
            )
        return outcome

    def _in_processes(self, window: Tasks, drawn: Drawn, execute: Execute) -> Gathered | None:
        try:
            found = self._processes.run(
                window, drawn, lambda some: self._one_by_one(window, some, execute)
            )
        except NotAtOnceError as refused:
            self._refused(window, refused)
            return None
        self._remarks += self._processes.take_remarks()
        return found

    def _one_by_one(self, window: Tasks, drawn: Drawn, execute: Execute) -> None:
        problems = self._program.problems
        with drawn.fed(problems[window.lower], problems[window.upper]):
            for instruction in window.body * len(drawn.lower):
                if not isinstance(instruction, EnvStep):
                    execute(instruction)

    def _refused(self, window: Tasks, refused: NotAtOnceError) -> None:
        if not refused.lasting:
            return
        way = "in processes" if window.processes else "at once"
        why = f"the loops of '{window.lower}' cannot run {way}: {refused.reason}"
        if window.always:
            raise UsageError(f"engine.execution.tasks: {why} (write auto or sequential)")
        self.choices[window.upper].way = "sequential"
        self._remarks.append(f"{why}; they run one by one")

    def _tell(self, window: Tasks, choice: Choice) -> None:
        best = choice.best
        self._remarks.append(
            f"{window.count} loops of '{window.lower}' take {best['vectorized']:.3g} s at once and "
            f"{best['sequential']:.3g} s one by one: from here engine.execution.tasks is "
            f"{choice.way}"
        )

    def _clock(self) -> float:
        """Seconds; what a device was given to do before has been done."""
        device = next(iter(self._program.problems.values())).device
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        return time.perf_counter()


def _asked_for(window: Tasks) -> Way | None:
    if window.processes:
        return "processes"
    return "vectorized" if window.always else None


def _first_sentence(text: str) -> str:
    """What torch says of vmap goes on for long; the place in the user's code comes last."""
    line = " ".join(text.split())
    sentence, _, rest = line.partition(". ")
    place = rest[rest.rfind(" (") :] if rest.endswith(")") else ""
    return sentence + place
