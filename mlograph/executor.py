"""A short interpreter: each instruction of the plan is one function."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, assert_never, final

from torch import Tensor

from mlograph import hyperparameters, trees
from mlograph.adjoints import Adjoints
from mlograph.errors import MlographError, NumericError, UsageError
from mlograph.fields import check_answers, doubt
from mlograph.linear import Solution, Status
from mlograph.meter import Meter
from mlograph.nonfinite import Kept, Numbers, Vetted
from mlograph.plan import Backward, EnvStep, Executed, Start, Step, Sweep, Tasks, Update
from mlograph.problem import (
    Evaluation,
    Moment,
    Problem,
    gradients_by_owner,
    with_field,
)
from mlograph.profiling import Observer, observed
from mlograph.program import Program
from mlograph.recording import Recording
from mlograph.tasks import Came, TaskRunner
from mlograph.trees import Vector
from mlograph.updating import accumulate, apply, blaming, tell
from mlograph.wording import is_answering


@final
class Executor:
    """Carries out instructions on a program.

    Attributes:
        meters: what each problem measured since it was last read.
        skipped: updates dropped because of non-finite values, by problem.
        remarks: what its user should know and has not been told yet.
    """

    def __init__(self, program: Program, observer: Observer | None = None) -> None:
        self._program = program
        self._perform = observed(self._carry_out, observer)
        self.meters = {name: Meter() for name in program.problems}
        self.skipped = dict.fromkeys(program.problems, 0)
        self._recordings: dict[str, Recording] = {}
        self._adjoints = Adjoints(program)
        self._tasks = TaskRunner(program)
        self._poisoned: set[str] = set()
        self._vetted = Vetted()
        # ‖gradient‖ of passes that are a whole update each.
        self._sizes: dict[str, Tensor] = {}
        self._told: set[tuple[str, Status]] = set()
        self._doubted: set[str] = set()
        self.remarks: list[str] = []
        self._records = _recorded(program, program.problems)

    def execute(self, instruction: Executed) -> None:
        """Carry out one instruction.

        Raises:
            NumericError: a non-finite loss or gradient, or a hypergradient that is zero by
                structure.
            UsageError: the user's code or data failed.
        """
        self._perform(instruction)

    def _carry_out(self, instruction: Executed) -> None:
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
            case Tasks():
                self._run_tasks(instruction)
            case _:
                assert_never(instruction)

    def close(self) -> None:
        """End the processes that help; nothing is executed afterwards."""
        self._tasks.close()

    @contextmanager
    def aside(self, judge: str) -> Iterator[None]:
        """What runs inside leaves no trace here; loops that only `judge` pulls go unrecorded."""
        kept = (self._records, self._recordings, self._poisoned, self._sizes)
        measured = (self.meters, self.skipped, self.remarks)
        others = self._program.problems.keys() - {judge}
        self._records = _recorded(self._program, others)
        self._recordings, self._poisoned, self._sizes = {}, set(), {}
        self.meters = {name: Meter() for name in self.meters}
        self.skipped, self.remarks = dict(self.skipped), []
        try:
            with self._adjoints.aside():
                yield
        finally:
            self._records, self._recordings, self._poisoned, self._sizes = kept
            self.meters, self.skipped, self.remarks = measured

    def state_dict(self) -> dict[str, Any]:
        """What it remembers between instructions, beside the problems and the Env."""
        return {
            "meters": {name: meter.state_dict() for name, meter in self.meters.items()},
            "skipped": dict(self.skipped),
            "remarks": list(self.remarks),
            "recordings": {name: one.state_dict() for name, one in self._recordings.items()},
            "adjoints": self._adjoints.state_dict(),
            "tasks": self._tasks.state_dict(),
            "poisoned": sorted(self._poisoned),
            "told": sorted((name, status.name) for name, status in self._told),
            "doubted": sorted(self._doubted),
            "compiling": self._program.compiling.state_dict(),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave; the problems stand where they stood."""
        for name, meter in self.meters.items():
            meter.load_state_dict(state["meters"][name])
        self.skipped, self.remarks = dict(state["skipped"]), list(state["remarks"])
        self._recordings = {}
        for name, saved in state["recordings"].items():
            self._recordings[name] = self._new_recording(self._program.problems[name])
            self._recordings[name].load_state_dict(saved)
        self._adjoints.load_state_dict(state["adjoints"])
        self._tasks.load_state_dict(state["tasks"])
        self._poisoned, self._sizes = set(state["poisoned"]), {}
        self._told = {(name, Status[status]) for name, status in state["told"]}
        self._doubted = set(state["doubted"])
        self._program.compiling.load_state_dict(state["compiling"])

    def _step_env(self) -> None:
        assert self._program.env is not None, "a plan without an Env does not step it"
        with blaming("env"):
            self._program.env.step()

    def _run_tasks(self, window: Tasks) -> None:
        outcome = self._tasks.run(window, self.execute)
        self.remarks += [x for x in self._tasks.take_remarks() if x not in self.remarks]
        if outcome is not None:
            self.note(window, outcome)

    def note(self, window: Tasks, outcome: Came) -> None:
        """Take in what came of a window."""
        # What was recorded of a loop that ran alone is not of this one.
        self._recordings.pop(window.lower, None)
        outcome.tell(self.meters[window.lower], self.meters[window.upper])
        for solution in outcome.solutions:
            self._note_solution(window.lower, solution)

    def _start(self, problem: Problem) -> None:
        origin = problem.spec.start_from
        if origin is not None:
            problem.model.copy_from(problem.others[origin])
            problem.optimizer.state.clear()
            problem.learning_rate.restart()
            problem.began = problem.updates
        tell(problem, "on_inner_loop_start", problem.callbacks.on_inner_loop_start)
        if problem.name in self._records:
            self._recordings[problem.name] = self._new_recording(problem)

    def _new_recording(self, problem: Problem) -> Recording:
        name = problem.name
        return Recording(problem, self._program.below[name], self._records[name])

    def _backward(self, problem: Problem) -> None:
        moment = problem.next_moment()
        recording = self._recordings.get(problem.name)
        kept = Kept.of(problem.model.buffers)
        evaluation, gradient = None, Vector()
        try:
            with blaming(f"problems.{problem.name}", RuntimeError):
                evaluation, own, lower = self._evaluated(problem, moment, recording)
                self._check_field(problem, evaluation)
                gradient = self._total(problem, own, lower)
        except MlographError:
            # What a bad number led to is no news beside the number itself.
            if not self._is_poisoned(problem, moment, evaluation, gradient, kept):
                raise
            return
        if self._is_poisoned(problem, moment, evaluation, gradient, kept):
            return
        self._note(problem, evaluation)
        if recording is not None:
            recording.accumulate(gradient)
            return
        accumulate(problem, gradient)

    def _evaluated(
        self, problem: Problem, moment: Moment, recording: Recording | None
    ) -> tuple[Evaluation, Vector, dict[str, Vector]]:
        """The loss, the problem's own gradient, and ∂L of the lower problems."""
        if recording is not None:
            return recording.evaluate(moment)
        live = problem.views({problem.name: problem.model.live()})
        wanted = {problem.name: problem.model.params}
        for name in self._visited(problem.name):
            if name in problem.others:
                wanted[name] = problem.others[name].params
        if problem.scaler is None:
            evaluation, direct = problem.slopes(live, moment, wanted)
        else:
            evaluation = problem.evaluate(live, moment)
            direct = gradients_by_owner(problem.scaler.scale(evaluation.loss), wanted)
            scale = 1.0 / problem.scaler.get_scale()
            direct = {owner: trees.scale(scale, vector) for owner, vector in direct.items()}
        return evaluation, with_field(direct.pop(problem.name), evaluation), direct

    def _check_field(self, problem: Problem, evaluation: Evaluation) -> None:
        check_answers(problem, evaluation, self._visited(problem.name))
        remark = doubt(problem, evaluation)
        if remark and problem.name not in self._doubted:
            self._doubted.add(problem.name)
            if is_answering(self._program.plan, problem.name):
                self.remarks.append(remark)

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
        meter, status = self.meters[name], solution.status
        meter.add("residual", solution.residual)
        meter.add("products", float(solution.iterations))
        metric = f"solves_{status.name.lower()}"
        meter.count(metric)
        if status in _WORDS and (name, status) not in self._told:
            self._told.add((name, status))
            nothing = not any(bool(x.any()) for x in solution.value.values())
            left = "; nothing comes back through it then" if nothing else ""
            self.remarks.append(
                f"the linear system of '{name}' {_WORDS[status]}{left}; {name}.{metric} counts them"
            )

    def _note(self, problem: Problem, evaluation: Evaluation) -> None:
        meter = self.meters[problem.name]
        meter.add("loss", evaluation.loss.detach())
        for name, value in evaluation.metrics.items():
            meter.add(name, value)

    def _is_poisoned(
        self,
        problem: Problem,
        moment: Moment,
        evaluation: Evaluation | None,
        gradient: Vector,
        kept: Kept,
    ) -> bool:
        """Whether this pass must not reach a parameter; raises where the run shall stop."""
        params = problem.model.params
        gradient = {name: gradient[name] for name in params if name in gradient}
        numbers = Numbers(
            moment.batch,
            evaluation.loss if evaluation is not None else None,
            # What overflows in fp16 is the scaler's own affair.
            gradient if problem.scaler is None else None,
            "hypergradient" if self._sweep(problem.name) else "gradient",
            self._vetted.knows(problem.name, moment.batch),
        )
        what = numbers.culprit()
        if what is None:
            if not numbers.vetted:
                self._vetted.add(problem.name, moment.batch)
            if numbers.size is not None and problem.spec.gradient_accumulation == 1:
                self._sizes[problem.name] = numbers.size
            return False
        kept.restore()
        if self._program.on_nonfinite == "stop":
            raise NumericError(
                f"problems.{problem.name}: {what} is not finite at update {problem.updates + 1}; "
                "no parameter was changed (engine.on_nonfinite: skip goes on without the update)"
            )
        self._poisoned.add(problem.name)
        return True

    def _update(self, problem: Problem) -> None:
        recording = self._recordings.get(problem.name)
        params, size = problem.model.params.values(), self._sizes.pop(problem.name, None)
        applied = problem.name not in self._poisoned
        if not applied:
            self._poisoned.remove(problem.name)
            self.skipped[problem.name] += 1
            self.meters[problem.name].count("skipped")
            if recording is not None:
                recording.drop()
        else:
            hyperparameters.impose(problem)
            if recording is None:
                size = apply(problem, size)
            else:
                with blaming(f"problems.{problem.name}.optimizer"):
                    size = recording.update(size)
            self.meters[problem.name].add("gradient_norm", size)
        for param in params:
            param.grad = None
        problem.updates += 1
        if applied:
            problem.learning_rate.step(self.meters[problem.name].latest("loss"))
        tell(problem, "after_update", problem.callbacks.after_update)

    def _sweep(self, name: str) -> Sweep | None:
        sweep = self._program.plan.sweeps.get(name)
        return sweep if sweep is not None and sweep.visits else None

    def _neglected(self, upper: str) -> str:
        """Lower problems whose method sends nothing back by design, in words."""
        specs = {name: self._program.problems[name].spec for name in sorted(self._visited(upper))}
        if not specs and len(self._program.problems) > 1:
            return (
                "; u2l leads from the upper problem to the lower one: are its edges the wrong way "
                "round?"
            )
        silent = [
            f"'{spec.hypergradient.method}' sends nothing back through '{name}'"
            for name, spec in specs.items()
            if spec.hypergradient.only_start
        ]
        return f" ({'; '.join(silent)} but to where its loops start)" if silent else ""

    def _visited(self, name: str) -> frozenset[str]:
        sweep = self._sweep(name)
        return frozenset(visit.problem for visit in sweep.visits) if sweep else frozenset()


# What a solve says of the system itself, not of how long it took.
_WORDS = {
    Status.BREAKDOWN: "broke the solver down, which kept the best it had (gmres, normal_cg or "
    "damping may help)",
    Status.NEGATIVE_CURVATURE: "met negative curvature, where the solver keeps its last good "
    "iterate or takes the curvature for zero (gmres and normal_cg do without a positive Hessian; "
    "damping may help)",
    Status.SINGULAR: "met a singular matrix, which has a solution of least squares at most",
    Status.DIVERGED: "diverged: the step is too long, or the Hessian not positive",
}


def _recorded(program: Program, uppers: Collection[str]) -> dict[str, frozenset[str]]:
    """Problems whose loops are recorded for sweeps of `uppers`, and whom these send to."""
    found: dict[str, frozenset[str]] = {}
    sweeps = [sweep for upper, sweep in program.plan.sweeps.items() if upper in uppers]
    for visit in (visit for sweep in sweeps for visit in sweep.visits):
        if program.problems[visit.problem].spec.hypergradient.records != "nothing":
            found[visit.problem] = found.get(visit.problem, frozenset()).union(visit.sends_to)
    return found
