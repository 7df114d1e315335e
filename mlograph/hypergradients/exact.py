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
    """w = (H + damping·I)⁻¹ v with H written out: p HVPs, O(p²) memory, O(p³) time.

    The definition itself (Bengio, 2000): for tests and small problems. A singular H gives the
    solution of least squares and least norm, and the run says so. The only option that is its own
    is `damping`.
    """

    options: methods.Exact

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        return linear.dense(system.damped(self.options.damping).product, adjoint)
