"""A worker process: inner loops of a run, one after another or a share at once, with one thread.

It makes the same program from what the run sends it, without data, and is sent the batches of each
loop. What its executor does with them is what the run's own would do.
"""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from typing import final

import torch

from mlograph.allocation import keep
from mlograph.batches import NoFeed
from mlograph.children import import_local, leave_with
from mlograph.compiling import Compiling
from mlograph.errors import MlographError, NumericError
from mlograph.executor import Executor
from mlograph.model import Model
from mlograph.plan import EnvStep
from mlograph.problem import Moment, Problem
from mlograph.program import Program
from mlograph.randomness import RandomState, seed_everything
from mlograph.state import capture
from mlograph.steppers import bind_learning_rate, bind_optimizer
from mlograph.tasks.drawing import Drawn
from mlograph.tasks.messages import (
    Blueprint,
    Done,
    Failed,
    Job,
    Measured,
    Part,
    Setting,
    Task,
    packed,
    seed_of,
    unpacked,
)
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.tasks.sharing import Block
from mlograph.tasks.window import commit, compute

_CPU = torch.device("cpu")


def main(parent: int, channel: int, descriptor: int) -> None:
    """Does what it is told until nobody is there to tell it anything.

    Args:
        parent: the process that started this one.
        channel: descriptor of a socket to it.
        descriptor: of the shared memory.
    """
    threading.Thread(target=leave_with, args=(parent,), daemon=True).start()
    connection = Connection(channel)
    torch.set_num_threads(1)
    keep()
    # The run knows what is wrong by then, and tells it.
    try:
        worker = _made(connection, descriptor)
        while True:
            for answer in worker.answers(unpacked(connection.recv_bytes())):
                connection.send_bytes(packed(answer))
    except (EOFError, OSError):
        os._exit(0)


def _made(connection: Connection, descriptor: int) -> Worker | Useless:
    """A worker from the first two messages: where files beside the graph lie, and the blueprint."""
    try:
        for name, file in unpacked(connection.recv_bytes()).items():
            import_local(name, file)
    except Exception as error:
        connection.recv_bytes()
        return Useless(f"{type(error).__name__}: {error}")
    data = connection.recv_bytes()
    try:
        blueprint: Blueprint = unpacked(data)
        torch.set_float32_matmul_precision(blueprint.precision)
        torch.use_deterministic_algorithms(blueprint.deterministic)
        torch.set_default_dtype(blueprint.dtype)
        return Worker(blueprint, Block(blueprint.layout, descriptor))
    except Exception as error:
        return Useless(f"{type(error).__name__}: {error}")


@final
@dataclass(frozen=True)
class Useless:
    """A worker that could not be made; whatever it is told, it says why."""

    reason: str

    def answers(self, job: Job) -> Iterator[Failed]:
        """As many as are expected."""
        yield from (Failed(self.reason, lasting=True) for _ in range(job.answers))


@final
class Worker:
    """Runs inner loops on a program of its own."""

    def __init__(self, blueprint: Blueprint, block: Block) -> None:
        self._blueprint = blueprint
        self._tensors = block.tensors
        self._program = _program(blueprint)
        self._executor = Executor(self._program)
        # Updates made before the window whose first task it did.
        self._led = -1

    def answers(self, job: Job) -> Iterator[Done | Failed]:
        """One for each loop, or for all at once, as soon as it is done."""
        problems = self._program.problems
        lower, upper = problems[job.window.lower], problems[job.window.upper]
        self._take_over(job)
        if job.tasks[0].number == 0:
            self._led = job.upper.updates
        leads = self._led == job.upper.updates
        compiling = self._program.compiling
        compiling.follow(problems, follows=not leads)
        compiling.adopt(job.compiled)
        shares = [job.tasks] if job.at_once else [(task,) for task in job.tasks]
        for tasks in shares:
            out, err = io.StringIO(), io.StringIO()
            with redirect_stdout(out), redirect_stderr(err):
                answer = self._answer(job, tasks, lower, upper)
            remarks = compiling.take_remarks()
            if isinstance(answer, Done):
                answer = replace(answer, printed=(out.getvalue(), err.getvalue()))
                if leads:
                    told = tuple(f"in a worker process, {text}" for text in remarks)
                    answer = replace(answer, compiled=compiling.chosen(), told=told)
            yield answer

    def _answer(
        self, job: Job, tasks: tuple[Task, ...], lower: Problem, upper: Problem
    ) -> Done | Failed:
        try:
            return self._run(job, tasks, lower, upper)
        except NotAtOnceError as refused:
            return Failed(refused.reason, refused.lasting)
        except NumericError as error:
            return Failed(str(error), lasting=False)
        except MlographError as error:
            return Failed(str(error), lasting=True)
        except Exception as error:
            return Failed(f"{type(error).__name__}: {error}", lasting=True)

    def _take_over(self, job: Job) -> None:
        """Be where the run is."""
        with torch.no_grad():
            for name, problem in self._program.problems.items():
                if name != job.window.lower:
                    for key, tensor in problem.model.tensors().items():
                        tensor.copy_(self._tensors[name, key])
        problems = self._program.problems
        _set(problems[job.window.lower], job.lower)
        _set(problems[job.window.upper], job.upper)

    def _run(self, job: Job, tasks: tuple[Task, ...], lower: Problem, upper: Problem) -> Done:
        number = tasks[0].number
        loop = len(tasks[0].lower) // lower.spec.gradient_accumulation
        lower.updates = job.lower.updates + number * loop
        for param in (*upper.model.params.values(), *lower.model.params.values()):
            param.grad = None
        seed_everything(seed_of(self._blueprint.seed, upper, number))
        before = RandomState.capture(_CPU)
        # Of a task that failed there may be something left.
        for meter in self._executor.meters.values():
            meter.drain()
        drawn = _drawn(tasks, before)
        if job.at_once:
            below, above = self._measured_at_once(job, drawn, lower, upper)
        else:
            below, above = self._measured(job, drawn, lower, upper)
        drew = not before.same(RandomState.capture(_CPU))
        found = {n: p.grad for n, p in upper.model.params.items() if p.grad is not None}
        for name, gradient in found.items():
            self._tensors["gradient", str(number), name].copy_(gradient)
        remarks, self._executor.remarks = tuple(self._executor.remarks), []
        last = tasks[-1].number == job.window.count - 1
        end = replace(capture(lower), moment=None) if last else None
        return Done(number, tuple(found), below, above, remarks, ("", ""), drew, end)

    def _measured_at_once(
        self, job: Job, drawn: Drawn, lower: Problem, upper: Problem
    ) -> tuple[tuple[Measured, ...], tuple[Measured, ...]]:
        """What some tasks measure of the two problems."""
        window = job.window.share(len(drawn.lower))
        outcome = compute(window, drawn, lower, upper)
        commit(window, drawn, lower, upper, outcome)
        self._executor.note(window, outcome)
        meters = self._executor.meters
        return (meters[lower.name].drain(),), (meters[upper.name].drain(),)

    def _measured(
        self, job: Job, drawn: Drawn, lower: Problem, upper: Problem
    ) -> tuple[tuple[Measured, ...], tuple[Measured, ...]]:
        """What each instruction of a task measures of the two problems."""
        below: list[Measured] = []
        above: list[Measured] = []
        with drawn.fed(lower, upper):
            for instruction in job.window.body:
                if isinstance(instruction, EnvStep):
                    continue
                self._executor.execute(instruction)
                below.append(self._executor.meters[lower.name].drain())
                above.append(self._executor.meters[upper.name].drain())
        return tuple(below), tuple(above)


def _drawn(tasks: Sequence[Task], random: RandomState) -> Drawn:
    """What the passes of some tasks are made on; nobody asks for the step."""
    loops = tuple(tuple(Moment(batch, 0, random) for batch in task.lower) for task in tasks)
    return Drawn(loops, tuple(Moment(task.upper, 0, random) for task in tasks))


def _program(blueprint: Blueprint) -> Program:
    models = {name: Model(part.module) for name, part in blueprint.parts.items()}
    problems = {
        name: _problem(name, part, models, blueprint) for name, part in blueprint.parts.items()
    }
    return Program(
        plan=blueprint.plan,
        problems=problems,
        methods=blueprint.methods,
        below=blueprint.below,
        env=None,
        # Where a number is not finite, the run itself sees to what follows.
        on_nonfinite="stop",
        seed=blueprint.seed,
        imports=blueprint.imports,
        compiling=Compiling.of(blueprint.compile, problems, blueprint.plan),
    )


def _problem(name: str, part: Part, models: dict[str, Model], blueprint: Blueprint) -> Problem:
    spec, imports, path = part.spec, blueprint.imports, ("problems", name)
    optimizer = bind_optimizer(spec.optimizer, models[name], imports, (*path, "optimizer"))
    rate = bind_learning_rate(spec.scheduler, optimizer, imports, (*path, "scheduler"))
    return Problem(
        name=name,
        spec=spec,
        model=models[name],
        others={other: models[other] for other in part.reads},
        optimizer=optimizer,
        learning_rate=rate,
        terms=part.terms,
        feed=NoFeed(),
        device=_CPU,
        hyperparameters=part.hyperparameters,
    )


def _set(problem: Problem, setting: Setting) -> None:
    problem.learning_rate.load_state_dict(setting.schedule)
    for group, options in zip(problem.optimizer.param_groups, setting.groups, strict=True):
        group.update(options)
    for name, part in problem.model.module.named_modules():
        part.training = setting.modes[name]
    problem.updates = problem.began = setting.updates
