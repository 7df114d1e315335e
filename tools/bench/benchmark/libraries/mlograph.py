"""mlograph: a graph of two problems, carried out by its own executor."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any, final
from weakref import finalize

import torch
from installed import version
from torch import Tensor

import mlograph
from benchmark.libraries.protocol import Job, UnsupportedError
from benchmark.methods import EPSILON, ConjugateGradient, Darts, Method, Neumann
from benchmark.settings import Batch, Episode
from mlograph.allocation import keep
from mlograph.bind import bind
from mlograph.components import Imports
from mlograph.errors import GraphError
from mlograph.executor import Executor
from mlograph.plan import Plan
from mlograph.program import Program
from mlograph.tasks.choice import WORKERS


@final
class Mlograph:
    """One way to carry a graph out.

    Args:
        execution: `engine.execution`.
    """

    def __init__(self, **execution: str) -> None:
        self._execution = execution

    @property
    def version(self) -> str:
        return version(mlograph.__file__, "mlograph")

    def session(self, job: Job) -> Running:
        if self._execution.get("tasks", "sequential") != "sequential" and not job.setting.restarts:
            raise UnsupportedError("one lower loop after the other")
        try:
            declared = graph(job, self._execution)
            plan = declared.plan()
            program = bind(declared.structure, plan, Imports())
            return Running(program, declared.spec.engine.log_every)
        except GraphError as error:
            raise UnsupportedError(str(error.faults[0])) from error

    def remark(self, job: Job) -> str:
        return ""


@final
class Running:
    """A program between two updates of its upper problem."""

    def __init__(self, program: Program, log_every: int) -> None:
        # As in a run.
        if program.device.type == "cpu":
            keep()
        self._executor = Executor(program)
        # Its worker processes, if there are any, end with the session.
        finalize(self, self._executor.close)
        self._log_every, self._updates = log_every, 0
        self._plan: Plan = program.plan
        self._upper = [*program.problems["upper"].model.params.values()]

    @property
    def upper(self) -> Sequence[Tensor]:
        return self._upper

    def update(self) -> None:
        for instruction in self._plan.executed:
            self._executor.execute(instruction)
        self._updates += 1
        if self._updates % self._log_every == 0:
            for meter in self._executor.meters.values():
                meter.flush()


def graph(job: Job, execution: Mapping[str, str]) -> mlograph.Graph:
    """The graph of a job.

    Args:
        job: what to set up.
        execution: `engine.execution`; as many `workers` as torch has threads.
    """
    setting, terms = job.setting, job.setting.terms()
    kind, options = job.recipe()
    precision = "float64" if torch.get_default_dtype() == torch.float64 else "float32"
    upper = {
        "module": setting.upper(shipped=job.shipped),
        "optimizer": {"_target_": kind, **options},
        "data": "env.upper",
        "loss": terms["upper"],
        "gradient_accumulation": setting.passes,
        "precision": precision,
    }
    lower = {
        "module": setting.lower(shipped=job.shipped),
        "optimizer": {"_target_": "sgd", "lr": setting.rate},
        "data": "env.lower",
        "loss": terms["lower"],
        "unroll_steps": setting.steps,
        "hypergradient": _method(job.problem.method),
        "precision": precision,
    }
    processes = execution.get("tasks") in WORKERS
    workers = {"workers": torch.get_num_threads()} if processes else {}
    if setting.restarts:
        lower["start_from"] = "upper"
    return mlograph.Graph(
        problems={"upper": upper, "lower": lower},
        edges=[("u2l", "upper", "lower"), ("l2u", "lower", "upper")],
        env=Tape(setting.episodes()),
        engine={
            "of": "upper",
            "device": job.device,
            "execution": {**execution, **workers},
        },
    )


def _method(method: Method) -> dict[str, Any]:
    match method:
        case Darts():
            return {"method": "darts", "scale": "one", "epsilon": EPSILON}
        case ConjugateGradient(iterations=iterations):
            return {"method": "cg", "iterations": iterations}
        case Neumann(iterations=iterations, alpha=alpha):
            return {"method": "neumann", "iterations": iterations, "alpha": alpha}
        case _:
            return {"method": "unroll"}


@final
class Tape:
    """An Env of fixed episodes, again and again."""

    def __init__(self, episodes: Sequence[Episode]) -> None:
        self._episodes = cycle(episodes)

    @property
    def batches(self) -> tuple[str, ...]:
        return ("lower", "upper")

    def step(self) -> Mapping[str, Batch]:
        episode = next(self._episodes)
        return {"lower": episode.lower, "upper": episode.upper}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Nothing is kept."""


SEQUENTIAL = Mlograph(tasks="sequential")
PROCESSES = Mlograph(tasks="processes")
VECTORIZED = Mlograph(tasks="vectorized")
BOTH = Mlograph(tasks="both")
COMPILED = Mlograph(tasks="sequential", compile="on")
