"""A short interpreter: each instruction of the plan is one function."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import assert_never, final

import torch

from mlograph import trees
from mlograph.adjoints import Adjoints
from mlograph.blame import blame
from mlograph.errors import MlographError, NumericError, UsageError
from mlograph.linear import Solution, Status
from mlograph.meter import Meter
from mlograph.plan import Backward, EnvStep, Instruction, Plan, Start, Step, Sweep, Update
from mlograph.problem import Evaluation, Problem, clipped, gradients_by_owner
from mlograph.program import Program
from mlograph.recording import Recording, detached
from mlograph.trees import Vector


@final
class Executor:
    """Carries out instructions on a program.

    Attributes:
        meters: what each problem measured since it was last read.
        skipped: updates dropped because of non-finite values, by problem.
        remarks: what its user should know and has not been told yet.
    """

    def __init__(self, program: Program) -> None:
        self._program = program
        self.meters = {name: Meter() for name in program.problems}
        self.skipped = dict.fromkeys(program.problems, 0)
        self._recordings: dict[str, Recording] = {}
        self._adjoints = Adjoints(program)
        self._poisoned: set[str] = set()
        self._told: set[tuple[str, Status]] = set()
        self.remarks: list[str] = []
        self._records = {
            name
            for name, problem in program.problems.items()
            if problem.spec.hypergradient.records
            and _is_pulled(program.plan, name, program.problems)
        }

    def execute(self, instruction: Instruction) -> None:
        """Carry out one instruction.

        Raises:
            NumericError: a non-finite loss or gradient, or a hypergradient that is zero by
                structure.
            UsageError: the user's code or data failed.
        """
        match instruction:
            case EnvStep():
                self._step_env()
            case Start(problem=name):
                self._start(self._program.problems[name])
            case Backward(problem=name):
                self._backward(self._program.problems[name])
            case Update(problem=name):
                self._update(self._program.problems[name])
            case Step(problem=name):
                self._backward(self._program.problems[name])
                self._update(self._program.problems[name])
            case _:
                assert_never(instruction)

    @contextmanager
    def aside(self, judge: str) -> Iterator[None]:
        """What runs inside leaves no trace here; loops that only `judge` pulls go unrecorded."""
        kept = (self._records, self._recordings, self._poisoned)
        measured = (self.meters, self.skipped, self.remarks)
        others = self._program.problems.keys() - {judge}
        self._records = {n for n in self._records if _is_pulled(self._program.plan, n, others)}
        self._recordings, self._poisoned = {}, set()
        self.meters = {name: Meter() for name in self.meters}
        self.skipped, self.remarks = dict(self.skipped), []
        try:
            with self._adjoints.aside():
                yield
        finally:
            self._records, self._recordings, self._poisoned = kept
            self.meters, self.skipped, self.remarks = measured

    def _step_env(self) -> None:
        assert self._program.env is not None, "a plan without an Env does not step it"
        with _blaming("env"):
            self._program.env.step()

    def _start(self, problem: Problem) -> None:
        origin = problem.spec.start_from
        if origin is not None:
            problem.model.copy_from(problem.others[origin])
            problem.optimizer.state.clear()
            problem.learning_rate.restart()
        _tell(problem, "on_inner_loop_start", problem.callbacks.on_inner_loop_start)
        if problem.name in self._records:
            self._recordings[problem.name] = Recording(problem, self._program.below[problem.name])

    def _backward(self, problem: Problem) -> None:
        moment = problem.next_moment()
        recording = self._recordings.get(problem.name)
        with _blaming(f"problems.{problem.name}", RuntimeError):
            if recording is not None:
                evaluation = problem.evaluate(recording.views(), moment)
                own, lower = recording.differentiate(evaluation)
            else:
                live = problem.views({problem.name: problem.model.live()})
                evaluation = problem.evaluate(live, moment)
                own, lower = self._differentiate(problem, evaluation)
            gradient = self._total(problem, own, lower)
        self._note(problem, evaluation)
        if self._is_poisoned(problem, evaluation, gradient):
            return
        share = trees.scale(1.0 / problem.spec.gradient_accumulation, gradient)
        if recording is not None:
            recording.accumulate(share)
        with torch.no_grad():
            for name, tensor in detached(share).items():
                param = problem.model.params[name]
                param.grad = tensor if param.grad is None else param.grad.add_(tensor)

    def _differentiate(
        self, problem: Problem, evaluation: Evaluation
    ) -> tuple[Vector, dict[str, Vector]]:
        """∂L of the problem itself and of each lower problem that the sweep visits, at once."""
        loss, scale = evaluation.loss, 1.0
        if problem.scaler is not None:
            loss = problem.scaler.scale(loss)
            scale = 1.0 / problem.scaler.get_scale()
        wanted = {problem.name: problem.model.params}
        for name in self._visited(problem.name):
            if name in problem.others:
                wanted[name] = problem.others[name].params
        direct = gradients_by_owner(loss, wanted)
        if problem.scaler is not None:
            direct = {owner: trees.scale(scale, vector) for owner, vector in direct.items()}
        return direct.pop(problem.name), direct

    def _total(self, problem: Problem, own: Vector, lower: Mapping[str, Vector]) -> Vector:
        total = own
        if self._sweep(problem.name) is not None:
            visited = {n: v for n, v in lower.items() if n in self._visited(problem.name)}
            direct = {problem.name: own, **visited}
            gathered = self._adjoints.gather(problem.name, direct, self._recordings)
            total = gathered.value
            for name, solution in gathered.solutions:
                self._note_solution(name, solution)
        if not total:
            name, but = problem.name, self._neglected(problem.name)
            raise UsageError(
                f"problems.{name}.loss: the loss does not depend on the parameters of '{name}', "
                f"directly or through a lower problem{but}"
            )
        return total

    def _note_solution(self, name: str, solution: Solution) -> None:
        meter = self.meters[name]
        meter.add("residual", solution.residual)
        meter.add("products", float(solution.iterations))
        cut_short = solution.status in (Status.NEGATIVE_CURVATURE, Status.SINGULAR)
        meter.add("cut_short", float(cut_short))
        if cut_short and (name, solution.status) not in self._told:
            self._told.add((name, solution.status))
            self.remarks.append(
                f"the linear system of '{name}' met {_WORDS[solution.status]}; "
                f"{name}.cut_short says how often"
            )

    def _note(self, problem: Problem, evaluation: Evaluation) -> None:
        meter = self.meters[problem.name]
        meter.add("loss", evaluation.loss.detach())
        for name, value in evaluation.metrics.items():
            meter.add(name, value)

    def _is_poisoned(self, problem: Problem, evaluation: Evaluation, gradient: Vector) -> bool:
        """Whether this pass must not reach a parameter; raises where the run shall stop."""
        what = None
        if not bool(evaluation.loss.isfinite()):
            what = "the loss"
        elif problem.scaler is None and (name := trees.first_non_finite(gradient)) is not None:
            kind = "hypergradient" if self._sweep(problem.name) else "gradient"
            what = f"the {kind} of '{name}'"
        if what is None:
            return False
        if self._program.on_nonfinite == "stop":
            raise NumericError(
                f"problems.{problem.name}: {what} is not finite at update {problem.updates + 1}; "
                "no parameter was changed (engine.on_nonfinite: skip goes on without the update)"
            )
        self._poisoned.add(problem.name)
        return True

    def _update(self, problem: Problem) -> None:
        recording = self._recordings.get(problem.name)
        params = problem.model.params.values()
        applied = problem.name not in self._poisoned
        if not applied:
            self._poisoned.remove(problem.name)
            self.skipped[problem.name] += 1
            if recording is not None:
                recording.drop()
        elif recording is not None:
            recording.update()
        else:
            self._apply(problem)
        for param in params:
            param.grad = None
        problem.updates += 1
        if applied:
            problem.learning_rate.step(self.meters[problem.name].latest("loss"))
        _tell(problem, "after_update", problem.callbacks.after_update)

    def _apply(self, problem: Problem) -> None:
        _tell(problem, "on_gradient", problem.callbacks.on_gradient)
        params = {n: p for n, p in problem.model.params.items() if p.grad is not None}
        if problem.scaler is not None:
            for param in params.values():
                assert param.grad is not None
                param.grad.mul_(problem.scaler.get_scale())
            problem.scaler.unscale_(problem.optimizer)
        gradient = {name: p.grad for name, p in params.items() if p.grad is not None}
        self.meters[problem.name].add("gradient_norm", trees.norm(gradient))
        for name, tensor in clipped(gradient, problem.spec.gradient_clipping).items():
            params[name].grad = tensor
        with _blaming(f"problems.{problem.name}.optimizer"):
            if problem.scaler is not None:
                problem.scaler.step(problem.optimizer)
                problem.scaler.update()
            else:
                problem.optimizer.step()

    def _sweep(self, name: str) -> Sweep | None:
        sweep = self._program.plan.sweeps.get(name)
        return sweep if sweep is not None and sweep.visits else None

    def _neglected(self, upper: str) -> str:
        """Lower problems whose method sends nothing back by design, in words."""
        silent = [
            name
            for name in sorted(self._visited(upper))
            if self._program.problems[name].spec.hypergradient.method == "first_order"
        ]
        if not silent:
            return ""
        names = ", ".join(f"'{name}'" for name in silent)
        return f" ('first_order' sends nothing back through {names} but to where its loops start)"

    def _visited(self, name: str) -> frozenset[str]:
        sweep = self._sweep(name)
        return frozenset(visit.problem for visit in sweep.visits) if sweep else frozenset()


_WORDS = {
    Status.NEGATIVE_CURVATURE: "negative curvature and stopped at its last good iterate",
    Status.SINGULAR: "a singular matrix and took the solution of least norm",
}


def _is_pulled(plan: Plan, name: str, uppers: Collection[str]) -> bool:
    """Whether a sweep of one of `uppers` differentiates the solution of `name`."""
    return any(
        visit.problem == name
        for upper, sweep in plan.sweeps.items()
        if upper in uppers
        for visit in sweep.visits
    )


@contextmanager
def _blaming(where: str, kind: type[Exception] = Exception) -> Iterator[None]:
    """What goes wrong inside is told with its place in the graph and in the user's code."""
    try:
        yield
    except MlographError:
        raise
    except kind as error:
        raise UsageError(f"{where}: {blame(error)}") from error


def _tell(problem: Problem, name: str, callback: Callable[[Problem], None] | None) -> None:
    if callback is not None:
        with torch.no_grad(), _blaming(f"problems.{problem.name}.callbacks.{name}"):
            callback(problem)
