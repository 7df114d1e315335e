"""Betty: problems, and an engine that steps them along u2l and l2u edges."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

import betty
import torch
from betty.configs import Config, EngineConfig
from betty.engine import Engine
from betty.logging import get_logger
from betty.problems import ImplicitProblem, IterativeProblem, Problem
from cases import RATE, Point, flat
from installed import version
from torch import Tensor

from comparison.libraries.protocol import UnsupportedError
from comparison.methods import ConjugateGradient, FiniteDifferences, Method, Neumann, Unroll
from comparison.trials import Trial, edges, evaluate


@final
class Betty:
    """The engine runs until the upper problem has its first gradient.

    Lower problems that rest do so with a learning rate of zero: Betty's gradient of a problem in
    the middle is an approximation, which would move it.
    """

    @property
    def version(self) -> str:
        return version(betty.__file__, "betty-ml")

    def hypergradient(self, trial: Trial) -> Tensor:
        get_logger().setLevel(logging.WARNING)
        lower = _config(trial.method)
        stage = Stage(trial)
        for name in trial.case.points:
            stage.nodes[name] = _node(stage, name, {} if name == trial.case.upper else lower)
        loops = max(trial.steps, 1) ** len(trial.lowers)
        engine = Engine(
            config=EngineConfig(train_iters=loops),
            problems=[*stage.nodes.values()],
            dependencies={kind: _dependencies(stage, kind) for kind in ("u2l", "l2u")},
        )
        engine.run()
        return stage.found[0]

    def remark(self, trial: Trial) -> str:
        if not isinstance(trial.method, ConjugateGradient):
            return ""
        if self.version == "0.2.1":
            return "release 0.2.1 takes its directions from the previous residual; mended since"
        return "one solve a path: few iterations on each part are not as many on the sum"


@dataclass(frozen=True)
class Stage:
    """What the problems of one run share; Betty fills it in as it goes."""

    trial: Trial
    nodes: dict[str, Problem] = field(default_factory=dict)
    found: list[Tensor] = field(default_factory=list)


@dataclass(frozen=True)
class Role:
    """Which problem of the stage a node is."""

    stage: Stage
    name: str


class _Hooks:
    """What users of Betty write for each problem."""

    cfg: Role

    def training_step(self, batch: Any) -> Tensor:
        return evaluate(self.cfg.stage.trial.case, self.cfg.name, self.cfg.stage.nodes)

    def grad_callback(self) -> None:
        node = self.cfg.stage.nodes[self.cfg.name]
        if self.cfg.name == self.cfg.stage.trial.case.upper:
            self.cfg.stage.found.append(flat(p.grad for p in node.trainable_parameters()))

    def on_inner_loop_start(self) -> None:
        case, nodes = self.cfg.stage.trial.case, self.cfg.stage.nodes
        if self.cfg.stage.trial.moves and self.cfg.name != case.upper:
            nodes[self.cfg.name].module.load_state_dict(nodes[case.upper].module.state_dict())


@final
class _Implicit(_Hooks, ImplicitProblem):
    """A problem that is differentiated implicitly, or not at all."""


@final
class _Unrolled(_Hooks, IterativeProblem):
    """A problem whose steps are differentiated."""


def _node(stage: Stage, name: str, lower: Mapping[str, Any]) -> Problem:
    """A problem; its name has a prefix, since `leaf` is an attribute of Betty's own."""
    trial = stage.trial
    unrolled = isinstance(trial.method, Unroll)
    below = name != trial.case.upper
    module = Point(trial.case.points[name])
    rate = RATE if unrolled or trial.moves else 0.0
    kind = _Unrolled if unrolled and below else _Implicit
    return kind(
        name=f"problem_{name}",
        config=Config(
            unroll_steps=max(trial.steps, 1) if below else 1,
            first_order=not unrolled,
            retain_graph=True,
            **lower,
        ),
        module=module,
        optimizer=torch.optim.SGD(module.parameters(), lr=rate),
        train_data_loader=[()],
        extra_config=Role(stage, name),
    )


def _config(method: Method) -> dict[str, Any]:
    """Betty's options for a lower problem."""
    match method:
        case ConjugateGradient(iterations=iterations):
            return {"type": "cg", "cg_iterations": iterations}
        case Neumann(iterations=iterations, alpha=alpha):
            return {"type": "neumann", "neumann_iterations": iterations, "neumann_alpha": alpha}
        case FiniteDifferences(scale="one"):
            return {"type": "darts"}
        case Unroll():
            return {}
        case _:
            raise UnsupportedError("no such method")


def _dependencies(stage: Stage, kind: str) -> dict[Problem, list[Problem]]:
    found: dict[Problem, list[Problem]] = {}
    for source, target in edges(stage.trial.case, kind):
        found.setdefault(stage.nodes[source], []).append(stage.nodes[target])
    return found


LIBRARY = Betty()
