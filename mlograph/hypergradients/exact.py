"""The dense inverse, for tests and small problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import linear
from mlograph.hypergradients.implicit import Implicit
from mlograph.language import methods
from mlograph.linear import Solution, System
from mlograph.problem import Problem
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Exact(Implicit):
    """w = (H + damping·I)⁻¹ v with H written out: p HVPs, O(p²) memory, O(p³) time."""

    options: methods.Exact

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        return linear.dense(system.damped(self.options.damping).product, adjoint)
