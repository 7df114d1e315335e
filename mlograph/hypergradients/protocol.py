"""What a hypergradient method is: the response of one lower problem, differentiated backwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from mlograph.linear import Solution
from mlograph.objective import Objective
from mlograph.problem import Moment, Problem
from mlograph.recording import Recording
from mlograph.residual import Residual
from mlograph.trees import Vector


@dataclass(frozen=True)
class Response:
    """The solution z* of a lower problem, as a function of what its loss reads.

    Attributes:
        problem: the lower problem, at its solution.
        moment: what its loss was evaluated on in its last step.
        residual: its optimality condition at the solution, recorded when called for.
        recording: its inner loop, if the method asked for one.
        guess: the solution of the last linear system for the same pair, for warm starts.
        objective: the loss of the upper problem by value, for a method that asks for it, where
            that loss reads the lower problem; the adjoint is then without the loss's own part.
        seed: gives that of the random numbers that a method may draw for this pull.
    """

    problem: Problem
    moment: Moment
    residual: Callable[[], Residual]
    recording: Recording | None = None
    guess: Vector | None = None
    objective: Objective | None = None
    seed: Callable[[], int] = int


@dataclass(frozen=True)
class Pulled:
    """What a method gives back.

    Attributes:
        sent: (dz*/dtarget)ᵀ · adjoint by target, without the parameters that it does not depend
            on; a target that the method neglects by design is left out altogether.
        solution: of the linear system, where the method solves one.
    """

    sent: Mapping[str, Vector]
    solution: Solution | None = None


class HypergradientMethod(Protocol):
    """A way to take (dz*/dtarget)ᵀ · adjoint."""

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        """Pull the adjoint of a problem's solution back to what its loss reads.

        Args:
            response: the lower problem at its solution.
            adjoint: v = ∂L_upper/∂z, over (some of) the problem's parameters.
            targets: problems to pull it back to; all of them are read by the problem's loss,
                or the inner loop starts from them.
        """
        ...
