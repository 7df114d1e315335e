"""A bound graph: everything that instructions act on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch

from mlograph.batches import SharedEnv
from mlograph.compiling import Compiling
from mlograph.components import Imports
from mlograph.hypergradients import HypergradientMethod
from mlograph.plan import Plan
from mlograph.problem import Problem


@dataclass(frozen=True)
class Program:
    """What `bind` makes of a graph and its plan.

    Attributes:
        plan: the schedule.
        problems: by name.
        methods: the hypergradient method of every problem.
        below: the problems below each, by l2u chains.
        env: the shared Env, if the graph has one.
        on_nonfinite: `stop` raises, `skip` drops the update.
        seed: of the run, for random numbers that are drawn apart from the global generators.
        compiling: what of it is compiled.
        imports: where its components come from.
    """

    plan: Plan
    problems: Mapping[str, Problem]
    methods: Mapping[str, HypergradientMethod]
    below: Mapping[str, frozenset[str]]
    env: SharedEnv | None
    on_nonfinite: str
    seed: int = 0
    compiling: Compiling = field(default_factory=Compiling)
    imports: Imports = field(default_factory=Imports)

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return self.problems[self.plan.counted].device
