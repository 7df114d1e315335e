"""Every method at the same point: what it gives, and what that takes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, nan

from mlograph import trees
from mlograph.errors import GraphError, MlographError
from mlograph.evaluations import evaluations
from mlograph.executor import Executor
from mlograph.gradcheck.clock import Clock, OutOfTimeError
from mlograph.gradcheck.measure import megabytes, seconds
from mlograph.gradcheck.place import Gradient, Place
from mlograph.gradcheck.references import Solved, along, as_run, relative_error
from mlograph.gradcheck.report import AS_RUN, SOLVED, Reference, Row, Settings, is_known
from mlograph.gradcheck.variants import Variant
from mlograph.language.methods import METHODS, ConjugateGradient, Method
from mlograph.program import Program
from mlograph.trees import Vector
from mlograph.wording import method_name, method_text

# What is exact, if its solver is given enough iterations or its loop is the one that counts.
_EXACT = ("exact", "cg", "gmres", "unroll")
_PRECISE = 1e-8

# With more parameters than this, a Hessian is not written out unless it is asked for.
_DENSE = 2000

# Seconds: a call that takes longer may not be repeated to be timed.
_LONG = 3.0


@dataclass(frozen=True)
class Candidate:
    """Methods to try.

    Attributes:
        name: what to call them.
        method: the name of the method, if it is one for all problems.
        methods: of the problems that get another one than the graph asks for.
        configured: nothing is changed.
    """

    name: str
    method: str
    methods: Mapping[str, Method]
    configured: bool = False


def price(at: Place, candidate: Candidate) -> float:
    """About what it takes, in evaluations of a loss; nothing where it cannot be had."""
    try:
        variant = at.variant.with_methods(candidate.methods)
    except GraphError:
        return 0.0
    found, most = 0.0, at.sizes[at.upper]
    for name, one in evaluations(variant.graph, variant.plan).items():
        # A derivative costs about two evaluations, and its derivative as much again.
        found += one.forward + 2.0 * one.backward + 4.0 * one.second
        found += 4.0 * at.sizes[name] * one.second_each + 2.0 * most * one.forward_each
    return found


@dataclass(frozen=True)
class Measured:
    """A row with the hypergradient behind it; None where there is none."""

    row: Row
    value: Vector | None = None


def candidates(at: Place, settings: Settings) -> Iterator[Candidate]:
    """What the graph asks for, then every method of the registry or of `settings.methods`.

    Where the Hessian is too large to be written out, many iterations of `cg` stand for it.
    """
    own = {name: at.variant.graph.problems[name].hypergradient for name in at.answering}
    texts = sorted({method_text(method) for method in own.values()})
    names = {method_name(method) for method in own.values()}
    alone = next(iter(names)) if len(names) == 1 else ""
    yield Candidate(" + ".join(texts), alone, {}, configured=True)
    large = max(at.sizes[name] for name in own) > _DENSE
    for name in dict.fromkeys(settings.methods or METHODS):
        if name == alone:
            continue
        options = METHODS[name]()
        if name == "exact" and large and not settings.methods:
            options = ConjugateGradient(iterations=200, tol=1e-12)
        yield Candidate(method_text(options), method_name(options), dict.fromkeys(own, options))


@dataclass(frozen=True)
class Judge:
    """Holds what rows are compared with.

    Attributes:
        at: the point.
        settings: of the check.
        as_run: the reference for everybody, where all methods take the same way.
        solved: the other one.
        clock: of the check.
    """

    at: Place
    settings: Settings
    as_run: Reference
    solved: Solved
    clock: Clock

    def measured(self, candidate: Candidate, seconds: float) -> Measured:
        """A candidate's row, in about so many seconds. What it cannot do is said in the row."""
        row = Row(candidate.name, candidate.method, candidate.configured)
        if seconds <= 0.0:
            return Measured(replace(row, failure="no time was left (--budget gives more)"))
        self.clock.tell(f"{self.at.upper}: {candidate.name}")
        try:
            variant = self.at.variant.with_methods(candidate.methods)
            return self._measured(row, variant, self.at.bound(variant), seconds)
        except OutOfTimeError:
            why = f"'{row.method}' takes more than its share of the time (--budget gives more)"
            return Measured(replace(row, failure=why))
        except GraphError as error:
            return Measured(replace(row, failure=error.faults[0].message))
        except (MlographError, RuntimeError) as error:
            return Measured(replace(row, failure=str(error).splitlines()[0]))

    def _measured(self, row: Row, variant: Variant, program: Program, limit: float) -> Measured:
        at, through_loop = self.at, goes_through_loop(variant, self.at)
        executor, began = Executor(program), time.perf_counter()
        gradients: list[Gradient] = []
        way = self._way(program, executor, gradients)
        device = program.problems[at.upper].device
        with self.clock.at_most(limit):
            memory = megabytes(way, device)
            spent = time.perf_counter() - began
            found, run = gradients[0], self.as_run
            if at.is_nested and through_loop and not row.configured and run.kind == AS_RUN:
                # Its own hypergradients moved the problems on the way elsewhere.
                run = as_run(at, program, self.settings, self.clock)
            elif at.is_nested and not through_loop:
                at.after.put(program, at.tapes)
                found = at.gradient(program, Executor(program))
            errors = {
                reference.kind: self._error(found.value, program, reference)
                for reference in (self.solved.reference, run)
                if reference.holds
            }
            at_rest = self._at_rest(program) if not through_loop else nan
        # Without what counts memory and looks at the clock, if there is time for that.
        again = spent <= max(_LONG, limit / 3.0)
        taken = seconds(way, self.settings.repeats, device) if again else spent
        row = replace(row, seconds=taken, megabytes=memory)
        row = replace(row, errors=errors, at_rest=at_rest, solves=found.solves)
        return Measured(row, found.value)

    def _at_rest(self, program: Program) -> float:
        """The error where everything is solved; NaN where that is not known."""
        if self.solved.rest is None or not self.solved.reference.holds:
            return nan
        self.solved.rest.put(program, self.at.tapes)
        found = self.at.gradient(program, Executor(program))
        return self._error(found.value, program, self.solved.reference)

    def _way(
        self, program: Program, executor: Executor, found: list[Gradient]
    ) -> Callable[[], None]:
        def call() -> None:
            self.at.run_loop(program, executor)
            found.append(self.at.gradient(program, executor))

        return call

    def _error(self, value: Vector, program: Program, reference: Reference) -> float:
        params = program.problems[self.at.upper].model.params
        return relative_error(reference, along(self.at, value, params, self.settings))


def goes_through_loop(variant: Variant, at: Place) -> bool:
    """Whether some method on the way goes through inner loops again."""
    problems = variant.graph.problems
    return any(problems[name].hypergradient.records != "nothing" for name in at.visited)


def compared(found: list[Measured], judged_by: Reference) -> tuple[list[Row], str]:
    """The rows with their angles to the best one, and its name.

    Best is whoever is the most precise: where all is solved, if that is what counts, or about the
    loops as they ran. `exact` goes before others that are as good. Without a reference it is the
    first of those that would be exact if all were well.
    """
    able = [one for one in found if one.value is not None]
    if len(able) < 2:
        return [one.row for one in found], ""
    best = min(able, key=_rank(able, judged_by))
    assert best.value is not None
    return [_with_angle(one, best.value) for one in found], best.row.name


def _rank(able: list[Measured], judged_by: Reference) -> Callable[[Measured], tuple[float, ...]]:
    errors = [_precision(one.row, judged_by.kind) for one in able]
    enough = max(10.0 * min(errors), _PRECISE)

    def rank(one: Measured) -> tuple[float, ...]:
        error = _precision(one.row, judged_by.kind)
        name = one.row.method
        place = _EXACT.index(name) if name in _EXACT else len(_EXACT)
        return (0.0 if error <= enough else error, place)

    return rank


def _precision(row: Row, kind: str) -> float:
    errors = (row.at_rest if kind == SOLVED else nan, row.error(kind), inf)
    return next(error for error in errors if is_known(error))


def _with_angle(one: Measured, best: Vector) -> Row:
    if one.value is None:
        return one.row
    size, other = float(trees.norm(one.value)), float(trees.norm(best))
    if not size or not other:
        return one.row
    both = sum(float((one.value[n] * best[n]).sum()) for n in best if n in one.value)
    return replace(one.row, cosine=both / (size * other), ratio=size / other)
