"""The identity for the inverse Hessian, with the exact cross-derivative."""

from __future__ import annotations

from dataclasses import dataclass
from math import nan
from typing import final

from mlograph.hypergradients.implicit import Implicit
from mlograph.language import methods
from mlograph.linear import Solution, Status, System
from mlograph.optimizers import rates
from mlograph.problem import Problem
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Identity(Implicit):
    """w = scale·v: no solve, one VJP.

    With `scale: lr`, every parameter's present learning rate, this is one unrolled step of SGD:
    T1–T2 (Luketina et al., 2016), one-step differentiation (Bolte et al., 2023); with a number,
    Jacobian-free backpropagation (Fung et al., 2022). Points downhill where the step contracts.
    """

    options: methods.Identity

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        scales = rates(problem.optimizer, problem.model.params, self.options.scale)
        w = {name: scales[name] * x for name, x in adjoint.items()}
        return Solution(w, Status.MAX_ITERATIONS, 0, nan)
