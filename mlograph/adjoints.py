"""Hypergradients of a running program: the plan's sweeps, each visit by its problem's method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from math import nan
from typing import final

from mlograph import trees
from mlograph.condition import Answer, Condition
from mlograph.hypergradients import Implicit, Response
from mlograph.hypergradients.sweep import hypergradient
from mlograph.linear import Solution, Status
from mlograph.plan import Visit
from mlograph.problem import Moment, Problem, Residual
from mlograph.program import Program
from mlograph.recording import Recording
from mlograph.trees import Vector


@dataclass(frozen=True)
class Gathered:
    """A hypergradient, and the linear solves that it took, by lower problem."""

    value: Vector
    solutions: tuple[tuple[str, Solution], ...]


@final
class Adjoints:
    """Gathers hypergradients; remembers the solutions of linear systems for warm starts."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._guesses: dict[tuple[str, str], Vector] = {}

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is solved inside does not become a guess outside."""
        kept = self._guesses
        self._guesses = dict(kept)
        try:
            yield
        finally:
            self._guesses = kept

    def gather(
        self, upper: str, direct: Mapping[str, Vector], recordings: Mapping[str, Recording]
    ) -> Gathered:
        """dL/dθ of `upper` from ∂L by problem, the lower problems being where they are.

        Raises:
            NumericError: a hypergradient is zero by structure.
        """
        solutions: list[tuple[str, Solution]] = []

        def pull(visit: Visit, adjoint: Vector) -> Mapping[str, Vector]:
            response = self._response(upper, visit, recordings.get(visit.problem))
            method = self._program.methods[visit.problem]
            pulled = method.pull(response, adjoint, visit.sends_to)
            if pulled.solution is None:
                return pulled.sent
            solutions.append((visit.problem, pulled.solution))
            if pulled.solution.status is Status.NON_FINITE:
                # The solver gave what it had before; that is no answer, and must not pass for one.
                return {target: trees.scale(nan, vector) for target, vector in pulled.sent.items()}
            self._guesses[upper, visit.problem] = pulled.solution.value
            return pulled.sent

        value = hypergradient(self._program.plan.sweeps[upper], direct, pull)
        return Gathered(value, tuple(solutions))

    def _response(self, upper: str, visit: Visit, recording: Recording | None) -> Response:
        problem = self._program.problems[visit.problem]
        return Response(
            problem=problem,
            moment=_moment(problem),
            residual=partial(self._residual, visit),
            recording=recording,
            guess=self._guesses.get((upper, visit.problem)),
        )

    def _residual(self, visit: Visit) -> Residual:
        return self._condition(visit.problem, visit.total).residual()

    def _condition(self, name: str, total: bool) -> Condition:
        problem = self._program.problems[name]
        answers = []
        # What is visited last depends on nothing that is visited before it.
        for visit in reversed(self._program.plan.sweeps[name].visits if total else ()):
            method = self._program.methods[visit.problem]
            assert isinstance(method, Implicit), "total curvature is planned only where it can be"
            answers.append(Answer(self._condition(visit.problem, visit.total), method.solve))
        return Condition(problem, _moment(problem), tuple(answers))


def _moment(problem: Problem) -> Moment:
    # A problem below has stepped by now; a hidden one is perhaps still to make its first step.
    return problem.moment or problem.next_moment()
