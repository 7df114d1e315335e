"""A low-rank Hessian in closed form."""

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
class Nystrom(Implicit):
    """w = (H_r + (rho + damping)·I)⁻¹ v, with H_r the Nyström approximation of H from its columns.

    `rho` keeps what the columns do not show from being divided by zero: where H has more than
    `rank` large eigenvalues, the rest of w is v/ρ.

    `rank` HVPs that do not depend on one another, as iterations do, and one for the residual;
    memory rank·p. The columns are drawn from `seed`, always the same, so that solves can be
    compared and a Hessian made of such solves is symmetric. For a positive semidefinite H.
    Hataya and Yamada (2023).
    """

    options: methods.Nystrom

    def solve(
        self, problem: Problem, system: System, adjoint: Vector, guess: Vector | None = None
    ) -> Solution:
        return linear.nystrom(
            system.damped(self.options.damping).product,
            adjoint,
            rank=self.options.rank,
            rho=self.options.rho,
            seed=self.options.seed,
        )
