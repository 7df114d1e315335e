"""A window whose loops are spread over worker processes."""

from __future__ import annotations

import os
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from typing import final

import torch
from torch import Tensor

from mlograph import trees
from mlograph.children import cores, local_files
from mlograph.language.spec import Live, ProblemSpec
from mlograph.linear import Solution
from mlograph.meter import Meter
from mlograph.optimizers import read_options
from mlograph.plan import Tasks
from mlograph.problem import Moment, Problem
from mlograph.program import Program
from mlograph.randomness import seed_everything, untouched
from mlograph.state import restore
from mlograph.tasks.drawing import Drawn
from mlograph.tasks.messages import (
    Blueprint,
    Done,
    Failed,
    Job,
    Part,
    Setting,
    Task,
    packed,
    seed_of,
)
from mlograph.tasks.pool import Pool
from mlograph.tasks.refusal import GoneError, NotAtOnceError
from mlograph.tasks.sharing import Block, Layout
from mlograph.trees import Vector

# By how much the first gradient of a worker may differ, by precision: rounding alone, which a
# solver may have amplified, or something else.
_TOLERANCES = {"float64": 1e-6, "float32": 1e-2}
_LOW_TOLERANCE = 0.2


@dataclass(frozen=True)
class Gathered:
    """What came of a window, as workers told it.

    Attributes:
        answers: of the loops that they did, in order.
        seconds: that the window took, without what was done twice to compare.
        solutions: none, since what there is to say of them has been measured.
    """

    answers: tuple[Done, ...]
    seconds: float
    solutions: tuple[Solution, ...] = ()

    @property
    def drew(self) -> bool:
        """Whether a loss drew random numbers."""
        return any(answer.drew for answer in self.answers)

    def tell(self, lower: Meter, upper: Meter) -> None:
        """Everything that was measured, in the order of the tasks."""
        for answer in self.answers:
            for below, above in zip(answer.lower, answer.upper, strict=True):
                lower.absorb(below)
                upper.absorb(above)


@final
class Distribution:
    """The workers for the windows of one upper problem.

    Args:
        window: one of them.
        program: of the run.

    Attributes:
        compared: the numbers of a worker were found to be those of this process.

    Raises:
        NotAtOnceError: they cannot have what they need.
        GoneError: they cannot be started.
    """

    def __init__(self, window: Tasks, program: Program) -> None:
        reason = obstacle(window, program)
        if reason:
            raise NotAtOnceError(reason)
        self.compared = False
        self._window = window
        self._program = program
        self._lower = program.problems[window.lower]
        self._upper = program.problems[window.upper]
        layout = Layout.of(self._shared())
        files, blueprint = local_files(), _packed_blueprint(program, layout)
        self._waiting: deque[bytes] = deque()
        self._block = Block(layout)
        try:
            self._pool = Pool(number_of(window), self._block, (packed(files), blueprint))
        except GoneError:
            self._block.close()
            raise

    def __len__(self) -> int:
        return len(self._pool)

    def begin(self, drawn: Drawn, *, at_once: bool) -> dict[int, int]:
        """Give the workers the first loops of a window; how many answers each of them owes.

        Args:
            drawn: the batches of the loops.
            at_once: each worker runs a share of them at once.

        Raises:
            NotAtOnceError: a batch cannot be sent.
            GoneError: a worker has ended.
        """
        with torch.no_grad():
            for name, problem in self._others():
                for key, tensor in problem.model.tensors().items():
                    self._block.tensors[name, key].copy_(tensor)
        lower, upper = _setting(self._lower), _setting(self._upper)
        # Drawing batches moved nothing; a loop counts from here.
        compiled = self._program.compiling.chosen()
        dealt = self._shared_out(drawn) if at_once else _dealt(drawn, len(self))
        jobs = [Job(self._window, tasks, lower, upper, compiled, at_once) for tasks in dealt]
        try:
            messages = [packed(job) for job in jobs]
        except Exception as error:
            raise NotAtOnceError(f"a batch cannot be sent to a process: {error}") from error
        self._waiting = deque(messages[len(self._pool) :])
        for number in range(len(self._pool)):
            self._pool.send(number, messages[number])
        return {number: jobs[number].answers for number in range(len(self._pool))}

    def finish(self, owed: dict[int, int]) -> tuple[Done, ...]:
        """The answers, in the order of the tasks; who is done first is given more of them.

        Raises:
            NotAtOnceError: a loop failed.
            GoneError: a worker has ended.
        """
        answers: list[Done] = []
        failures: list[Failed] = []
        for number, answer in self._pool.listen(owed):
            (failures if isinstance(answer, Failed) else answers).append(answer)
            if failures:
                self._waiting.clear()
            # Told only when it listens: both would wait if each had much to say to the other.
            if number not in owed and self._waiting:
                self._pool.send(number, self._waiting.popleft())
                owed[number] = 1
        if failures:
            # Of a number that is not finite there is nothing to learn.
            worst = max(failures, key=lambda one: one.lasting)
            raise NotAtOnceError(worst.reason, lasting=worst.lasting)
        return tuple(sorted(answers, key=lambda answer: answer.number))

    @contextmanager
    def as_in_a_worker(self, number: int) -> Iterator[None]:
        """A loop that is run inside draws the numbers that it would draw in a worker.

        It has one thread as well: the last bits of float32 can grow to whole per cent in a loop.
        """
        with one_thread(), untouched(self._program.device):
            seed_everything(seed_of(self._program.seed, self._upper, number))
            yield

    def compare(self, answer: Done, here: Vector) -> None:
        """See whether a worker's gradient is the one that this process has found.

        Raises:
            NotAtOnceError: it is another one.
        """
        there = self._gradient(answer)
        self.compared = True
        if here.keys() == there.keys():
            gap = trees.norm(trees.axpy(-1.0, there, here))
            size = trees.norm(here)
            tolerance = _TOLERANCES.get(self._upper.spec.precision, _LOW_TOLERANCE)
            if bool(gap <= tolerance * size):
                return
        raise NotAtOnceError(
            "the gradient that a worker process finds is another one than here (a loss or a module "
            "may keep something that is no parameter, buffer or argument)"
        )

    def commit(self, drawn: Drawn, answers: tuple[Done, ...]) -> None:
        """Leave both problems as a sequential run of the window would.

        Args:
            drawn: the batches of the whole window.
            answers: of the loops whose gradients have not been accumulated yet.
        """
        with torch.no_grad():
            for answer in answers:
                for name, tensor in self._gradient(answer).items():
                    param = self._upper.model.params[name]
                    old = param.grad
                    param.grad = tensor.clone() if old is None else old.add_(tensor)
        end = answers[-1].end
        assert end is not None, "the last loop of a window tells where it ended"
        moment = drawn.lower[-1][-1]
        moment = Moment(moment.batch, end.updates - 1, moment.random)
        restore(self._lower, replace(end, moment=moment))

    def close(self) -> None:
        """End the workers."""
        self._pool.close()
        self._block.close()

    def _shared_out(self, drawn: Drawn) -> list[tuple[Task, ...]]:
        left = iter(_tasks(drawn))
        return [tuple(islice(left, size)) for size in self._window.shares(len(self))]

    def _gradient(self, answer: Done) -> Vector:
        number = str(answer.number)
        return {n: self._block.tensors["gradient", number, n] for n in answer.gradient}

    def _others(self) -> list[tuple[str, Problem]]:
        """All problems but the one whose loops they are, which begins where another one is."""
        problems = self._program.problems.items()
        return [(name, problem) for name, problem in problems if problem is not self._lower]

    def _shared(self) -> dict[tuple[str, ...], Tensor]:
        found: dict[tuple[str, ...], Tensor] = {}
        for name, problem in self._others():
            found |= {(name, key): x for key, x in problem.model.tensors().items()}
        for number in map(str, range(self._window.count)):
            found |= {("gradient", number, n): x for n, x in self._upper.model.params.items()}
        return found


def number_of(window: Tasks) -> int:
    """How many workers a window has."""
    return min(window.workers or cores(), window.count)


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, torch has the number of threads that it has in a worker."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def obstacle(window: Tasks, program: Program) -> str:
    """Why processes cannot do it where the plan cannot tell; nothing if they can."""
    upper = program.problems[window.upper]
    if os.name != "posix":
        return f"worker processes are not known to work on {sys.platform}"
    if program.device.type != "cpu":
        return f"the run is on {program.device}, which one process has to itself"
    if upper.model.buffers and any(upper.name in term.reads for term in upper.terms):
        return f"the loss of '{upper.name}' may change buffers of '{upper.name}'"
    return ""


def _dealt(drawn: Drawn, workers: int) -> list[tuple[Task, ...]]:
    """What each worker does first, and then the tasks that whoever is free does one by one.

    Cores differ in how fast they are. What is sent together has its tensors once, so half of the
    tasks are dealt at once.
    """
    tasks = _tasks(drawn)
    size = max(1, len(tasks) // (2 * workers))
    first = [tuple(tasks[at : at + size]) for at in range(0, size * workers, size)]
    return [*first, *((task,) for task in tasks[size * workers :])]


def _tasks(drawn: Drawn) -> list[Task]:
    return [
        Task(number, tuple(one.batch for one in loop), end.batch)
        for number, (loop, end) in enumerate(zip(drawn.lower, drawn.upper, strict=True))
    ]


def _setting(problem: Problem) -> Setting:
    return Setting(
        groups=read_options(problem.optimizer),
        schedule=problem.learning_rate.state_dict(),
        modes={name: part.training for name, part in problem.model.module.named_modules()},
        updates=problem.updates,
    )


def _packed_blueprint(program: Program, layout: Layout) -> bytes:
    parts = {name: _part(problem) for name, problem in program.problems.items()}
    for name, part in parts.items():
        pieces = {"module": part.module, "loss": part.terms}
        for what, piece in (pieces | {"hyperparameters": part.hyperparameters}).items():
            try:
                packed(piece)
            except Exception as error:
                reason = f"the {what} of '{name}' cannot be sent to a process: {error}"
                raise NotAtOnceError(reason) from error
    blueprint = Blueprint(
        plan=program.plan,
        parts=parts,
        methods=program.methods,
        below=program.below,
        seed=program.seed,
        imports=program.imports,
        layout=layout,
        precision=torch.get_float32_matmul_precision(),
        deterministic=torch.are_deterministic_algorithms_enabled(),
        dtype=torch.get_default_dtype(),
        compile=program.compiling.how,
    )
    try:
        return packed(blueprint)
    except Exception as error:
        raise NotAtOnceError(f"the graph cannot be sent to a process: {error}") from error


def _part(problem: Problem) -> Part:
    return Part(
        spec=_bare(problem.spec),
        module=problem.model.module,
        terms=tuple(problem.terms),
        hyperparameters=dict(problem.hyperparameters),
        reads=tuple(problem.others),
    )


def _bare(spec: ProblemSpec) -> ProblemSpec:
    """A spec without what has been built of it, which may be large or hold anything."""
    return spec.model_copy(update={"module": Live(value=None), "loss": (), "data": None})
