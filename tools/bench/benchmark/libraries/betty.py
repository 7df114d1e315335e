"""Betty: two problems, and an engine that steps them along u2l and l2u edges."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import betty
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.logging import get_logger
from betty.problems import ImplicitProblem, Problem
from installed import version
from torch import Tensor
from torch.optim import SGD

from benchmark.libraries.protocol import Job, UnsupportedError, copy
from benchmark.methods import ConjugateGradient, Darts, Method, Neumann
from benchmark.settings import Batch


@final
class Betty:
    """Implicit problems; the unrolled ones of this library do not start."""

    @property
    def version(self) -> str:
        return version(betty.__file__, "betty-ml")

    def session(self, job: Job) -> Running:
        get_logger().setLevel(logging.WARNING)
        return Running(job, _config(job.problem.method))

    def remark(self, job: Job) -> str:
        if self.version == "0.2.1" and isinstance(job.problem.method, ConjugateGradient):
            return "release 0.2.1 takes its directions from the previous residual; mended since"
        return ""


@dataclass(frozen=True)
class Stage:
    """What both problems know of each other."""

    job: Job
    nodes: dict[str, Problem] = field(default_factory=dict)


@final
class Upper(ImplicitProblem):
    """What users of Betty write for the upper problem."""

    cfg: Stage

    def training_step(self, batch: Batch) -> Tensor:
        return self.cfg.job.setting.upper_loss(self.cfg.nodes["lower"], batch)


@final
class Lower(ImplicitProblem):
    """And for the lower one."""

    cfg: Stage

    def training_step(self, batch: Batch) -> Tensor:
        upper = self.cfg.nodes["upper"]
        return self.cfg.job.setting.lower_loss(self.cfg.nodes["lower"], upper, batch)

    def on_inner_loop_start(self) -> None:
        if self.cfg.job.setting.restarts:
            copy(self.cfg.nodes["upper"].module.parameters(), self.module.parameters())


@final
class Running:
    """An engine between two updates of the upper problem."""

    def __init__(self, job: Job, options: Mapping[str, Any]) -> None:
        stage, setting = Stage(job), job.setting
        upper, lower, episodes = job.upper(), job.lower(), job.episodes()
        above = Upper(
            name="upper",
            config=Config(gradient_accumulation=setting.passes, retain_graph=True),
            module=upper,
            optimizer=job.optimizer(upper.parameters()),
            train_data_loader=[one.upper for one in episodes],
            extra_config=stage,
        )
        below = Lower(
            name="lower",
            config=Config(unroll_steps=setting.steps, **options),
            module=lower,
            optimizer=SGD(lower.parameters(), lr=setting.rate),
            train_data_loader=[one.lower for one in episodes for _ in range(setting.steps)],
            extra_config=stage,
        )
        stage.nodes.update(upper=above, lower=below)
        strategy = "gpu" if job.device == "cuda" else "default"
        self._engine = Engine(
            config=EngineConfig(strategy=strategy),
            problems=[above, below],
            dependencies={"u2l": {above: [below]}, "l2u": {below: [above]}},
        )
        self._engine.train()
        self._steps = setting.steps * setting.passes
        self._upper = [*above.module.parameters()]

    @property
    def upper(self) -> Sequence[Tensor]:
        return self._upper

    def update(self) -> None:
        """What `Engine.run` does for as many steps of the lower problem."""
        for _ in range(self._steps):
            self._engine.global_step += 1
            self._engine.train_step()


def _config(method: Method) -> dict[str, Any]:
    """Betty's options for a lower problem."""
    match method:
        case ConjugateGradient(iterations=iterations):
            return {"type": "cg", "cg_iterations": iterations}
        case Neumann(iterations=iterations, alpha=alpha):
            return {"type": "neumann", "neumann_iterations": iterations, "neumann_alpha": alpha}
        case Darts():
            return {"type": "darts"}
        case _:
            raise UnsupportedError("its unrolled problems fail at the start (KeyError: 'params')")


LIBRARY = Betty()
