"""Single-loop methods: the linear system moves along with the problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import linear
from mlograph.hypergradients.implicit import Implicit
from mlograph.language import methods
from mlograph.linear import Solution, System
from mlograph.optimizers import rates
from mlograph.problem import Problem
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Soba(Implicit):
    """w ← w − rate·((H + damping·I) w − v), some steps an update, from where the last ones ended.

    `preset: soba` (Dagréou et al., 2022): one step, so one HVP and one VJP an update; w follows
    H⁻¹v while the problems move, and is far from it in the first updates. `amigo` (Arbel and
    Mairal, 2022): ten steps. `stocbio` (Ji, Yang and Liang, 2021): ten steps from zero, a truncated
    Neumann series. `steps` and `warm_start` override what a preset says. From zero the first step
    needs no HVP. `rate: lr` takes every parameter's present learning rate. Diverges where rate·λmax
    > 2, and the run says so.
    """

    options: methods.Soba

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        return linear.richardson(
            system.damped(self.options.damping).product,
            adjoint,
            steps=self.options.count,
            rates=rates(problem.optimizer, problem.model.params, self.options.rate),
            start=guess if self.options.is_warm else None,
            tol=self.options.tol,
        )
