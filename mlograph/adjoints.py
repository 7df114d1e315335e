"""Hypergradients of a running program: the plan's sweeps, each visit by its problem's method."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import nan
from typing import Any, final

from mlograph import trees
from mlograph.condition import Answer, Condition
from mlograph.effects import Effects
from mlograph.hypergradients import Implicit, Response
from mlograph.hypergradients.sweep import hypergradient
from mlograph.linear import Solution, Status, System
from mlograph.objective import Objective
from mlograph.plan import Visit
from mlograph.problem import Moment, Problem
from mlograph.program import Program
from mlograph.randomness import mixed
from mlograph.recording import Recording
from mlograph.residual import Residual
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
        self._solutions: list[tuple[str, Solution]] = []
        self._effects = Effects()

    @contextmanager
    def aside(self) -> Iterator[None]:
        """What is solved inside does not become a guess outside."""
        kept = self._guesses
        self._guesses = dict(kept)
        try:
            yield
        finally:
            self._guesses = kept

    def state_dict(self) -> dict[str, Any]:
        """Guesses for warm starts, and which edges are known to have an effect."""
        return {"guesses": dict(self._guesses), "effects": self._effects.state_dict()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._guesses = dict(state["guesses"])
        self._effects.load_state_dict(state["effects"])

    def gather(
        self, upper: str, direct: Mapping[str, Vector], recordings: Mapping[str, Recording]
    ) -> Gathered:
        """dL/dθ of `upper` from ∂L by problem, the lower problems being where they are.

        Raises:
            NumericError: a hypergradient is zero by structure.
        """
        self._solutions = []
        sweep = self._program.plan.sweeps[upper]
        objectives = self._objectives(upper, differentiable=bool(direct.get(upper)))
        problem = self._program.problems[upper]
        direct = self._effects.direct(problem, _moment(problem), direct, objectives)

        def pull(visit: Visit, adjoint: Vector) -> Mapping[str, Vector]:
            recording, objective = recordings.get(visit.problem), objectives.get(visit.problem)
            response = self._response(upper, visit, recording, objective)
            method = self._program.methods[visit.problem]
            if visit.total:
                self._effects.check(self.condition(visit.problem, total=True))
            pulled = method.pull(response, adjoint, visit.sends_to)
            seen = response.problem.model.params if objective else adjoint
            sent = self._effects.real(upper, response, pulled.sent, seen, total=visit.total)
            if pulled.solution is None:
                return sent
            self._solutions.append((visit.problem, pulled.solution))
            if pulled.solution.status is Status.NON_FINITE:
                # The solver gave what it had before; that is no answer, and must not pass for one.
                return {target: trees.scale(nan, vector) for target, vector in sent.items()}
            if pulled.solution.status is Status.DIVERGED:
                self._guesses.pop((upper, visit.problem), None)
            else:
                self._guesses[upper, visit.problem] = pulled.solution.value
            return sent

        value = hypergradient(sweep, direct, pull, frozenset(objectives))
        return Gathered(value, tuple(self._solutions))

    def condition(self, name: str, total: bool) -> Condition:
        """What holds at the solution of a problem, its total gradient vanishing if `total`."""
        problem = self._program.problems[name]
        answers = []
        # What is visited last depends on nothing that is visited before it.
        for visit in reversed(self._program.plan.sweeps[name].visits if total else ()):
            method = self._program.methods[visit.problem]
            assert isinstance(method, Implicit), "total curvature is planned only where it can be"
            below = self.condition(visit.problem, visit.total)
            answers.append(Answer(below, partial(self._solve, method, below.problem)))
        return Condition(problem, _moment(problem), tuple(answers))

    def _objectives(self, upper: str, *, differentiable: bool) -> dict[str, Objective]:
        """The loss of `upper` for each visit that shall evaluate it.

        What autograd does not know of the loss's direct dependence on its own parameters, the last
        of these visits finds out.
        """
        problem = self._program.problems[upper]
        names = {
            visit.problem: upper in visit.sends_to
            for visit in self._program.plan.sweeps[upper].visits
            if visit.problem in problem.others
            and self._program.problems[visit.problem].spec.hypergradient.by_value
        }
        last = None if differentiable else next((n for n in reversed(names) if names[n]), None)
        return {n: Objective(problem, _moment(problem), n, directly=n == last) for n in names}

    def _response(
        self,
        upper: str,
        visit: Visit,
        recording: Recording | None,
        objective: Objective | None,
    ) -> Response:
        problem = self._program.problems[visit.problem]
        updates = (self._program.problems[upper].updates, problem.updates)
        return Response(
            problem=problem,
            moment=_moment(problem),
            residual=partial(self._residual, visit),
            recording=recording,
            guess=self._guesses.get((upper, visit.problem)),
            objective=objective,
            seed=partial(mixed, self._program.seed, upper, visit.problem, *updates),
        )

    def _residual(self, visit: Visit) -> Residual:
        return self.condition(visit.problem, visit.total).residual()

    def _solve(
        self, method: Implicit, problem: Problem, system: System, adjoint: Vector
    ) -> Solution:
        """One of the systems that a total condition's own derivatives take."""
        solution = method.solve(problem, system, adjoint)
        self._solutions.append((problem.name, solution))
        if solution.status is Status.NON_FINITE:
            return replace(solution, value=trees.scale(nan, solution.value))
        return solution


def _moment(problem: Problem) -> Moment:
    # A problem below has stepped by now; a hidden one is perhaps still to make its first step.
    return problem.moment or problem.next_moment()
