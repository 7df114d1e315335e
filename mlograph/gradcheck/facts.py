"""What is measured for the sake of advice."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, nan

import torch

from mlograph import trees
from mlograph.adjoints import Adjoints
from mlograph.errors import GraphError, MlographError
from mlograph.executor import Executor
from mlograph.gradcheck.clock import OutOfTimeError
from mlograph.gradcheck.differences import directions
from mlograph.gradcheck.place import Gradient, Place
from mlograph.gradcheck.references import precise
from mlograph.gradcheck.report import Reference, Row
from mlograph.gradcheck.rest import has_field
from mlograph.gradcheck.spectrum import Spectrum, spectrum
from mlograph.language.methods import Damped, EvolutionStrategies, Implicit, Method
from mlograph.plan import Start, Visit
from mlograph.program import Program
from mlograph.residual import Residual
from mlograph.trees import Vector


@dataclass(frozen=True)
class LowerFacts:
    """One lower problem on the way of a hypergradient.

    Attributes:
        name: the problem.
        method: how the hypergradient flows through it.
        start: ‖Φ‖ where its loop began, on the batch of its end; NaN where it is not known.
        end: ‖Φ‖ where its loop ended.
        spectrum: of its Hessian there; None where its condition is a field, or has no derivative.
        asymmetry: ‖(J − Jᵀ)x‖ / ‖Jx‖ of its condition's Jacobian, for some x.
        goes_on: it is at the start of a run, and its later loops will begin where the last ended.
    """

    name: str
    method: Method
    start: float = nan
    end: float = nan
    spectrum: Spectrum | None = None
    asymmetry: float = 0.0
    goes_on: bool = False


@dataclass(frozen=True)
class Facts:
    """Everything that advice follows from.

    Attributes:
        tol: the relative error that is tolerated.
        lowers: the lower problems.
        rows: what the methods gave, with their angles.
        judged_by: what the graph's own method has to agree with.
        best: name of the best row.
        damping: by how much the damping of the graph's own methods moves the hypergradient,
            relatively; NaN without damping.
        partial: by how much its partial curvature does; NaN without.
        noise: by how much other random numbers (dropout) do; NaN where there are none.
        scatter: the cosine of two of its hypergradients whose methods drew other random directions;
            NaN where they draw none.
        complete: there was time to measure all this.
    """

    tol: float
    lowers: tuple[LowerFacts, ...]
    rows: tuple[Row, ...]
    judged_by: Reference
    best: str = ""
    damping: float = nan
    partial: float = nan
    noise: float = nan
    scatter: float = nan
    complete: bool = True

    @property
    def own(self) -> Row:
        """The row of what the graph asks for."""
        return next(row for row in self.rows if row.configured)


def lower_facts(at: Place, *, begun: bool) -> Iterator[LowerFacts]:
    """What is known of every problem on the way; `begun`: the check is not at the start."""
    for visit in at.variant.plan.sweeps[at.upper].visits:
        method = at.variant.graph.problems[visit.problem].hypergradient
        try:
            yield replace(_lower(at, visit, method), goes_on=not begun and _goes_on(at, visit))
        except OutOfTimeError:
            raise
        except (MlographError, RuntimeError):
            # A loss that cannot be differentiated twice has no curvature to tell of.
            yield LowerFacts(visit.problem, method)


def _lower(at: Place, visit: Visit, method: Method) -> LowerFacts:
    try:
        program = at.bound(at.variant.with_methods(precise(at)))
    except GraphError:
        program = at.bound()
    visits = program.plan.sweeps[at.upper].visits
    total = any(one.problem == visit.problem and one.total for one in visits)
    residual = Adjoints(program).condition(visit.problem, total).residual()
    end = float(trees.norm(trees.detached(residual.value)))
    seen, asymmetry = None, 0.0
    if residual.params and has_field(program.problems[visit.problem]):
        asymmetry = _asymmetry(residual)
    elif residual.params:
        seen = spectrum(residual.vjp, residual.params)
    start = _start(at, program, visit.problem, total)
    return LowerFacts(visit.problem, method, start, end, seen, asymmetry)


def _goes_on(at: Place, visit: Visit) -> bool:
    return at.variant.graph.problems[visit.problem].start_from is None


def _asymmetry(residual: Residual) -> float:
    vector = directions(residual.params, 1, seed=0)[0]
    forwards = residual.jvp(vector)
    return _change(forwards, residual.vjp(vector))


def _start(at: Place, program: Program, name: str, total: bool) -> float:
    """‖Φ‖ where the loop of a problem began, on the batch of its end."""
    at.before.put(program, at.tapes)
    if Start(name) in at.loop:
        Executor(program).execute(Start(name))
    for other, problem in program.problems.items():
        problem.moment = at.after.states[other].moment
    residual = Adjoints(program).condition(name, total).residual()
    return float(trees.norm(trees.detached(residual.value)))


def undamped(at: Place) -> float:
    """By how much the damping of the graph's own methods moves the hypergradient."""
    methods = _own(at)
    changed = {
        name: method.model_copy(update={"damping": 0.0})
        for name, method in methods.items()
        if isinstance(method, Damped) and method.damping
    }
    return _moved_by(at, changed)


def whole(at: Place) -> float:
    """By how much their partial curvature does, where they ask for it."""
    changed = {
        name: method.model_copy(update={"curvature": "auto"})
        for name, method in _own(at).items()
        if isinstance(method, Implicit) and method.curvature == "partial"
    }
    return _moved_by(at, changed)


def noise(at: Place) -> float:
    """By how much other random numbers do, on the same batches."""
    program = at.bound()
    first = at.gradient(program, at.run_loop(program)).value
    at.before.put(program, at.tapes)
    torch.manual_seed(torch.initial_seed() % 2**31 + 1)
    second = at.gradient(program, at.go(program, Executor(program)), frozen=False).value
    change = _change(first, second)
    return change if change > 1e-9 else nan


def scatter(at: Place) -> float:
    """The cosine of two estimates that differ in the directions which evolution strategies drew."""
    if not any(isinstance(method, EvolutionStrategies) for method in _own(at).values()):
        return nan
    first, second = (
        at.gradient(program, at.run_loop(program)).value
        for program in (at.bound(), replace(at.bound(), seed=at.bound().seed + 1))
    )
    sizes = float(trees.norm(first)) * float(trees.norm(second))
    return float(trees.dot(first, second)) / sizes if sizes else nan


def _own(at: Place) -> Mapping[str, Method]:
    return {name: at.variant.graph.problems[name].hypergradient for name in at.answering}


def _moved_by(at: Place, changed: Mapping[str, Method]) -> float:
    if not changed:
        return nan
    variants = (at.variant, at.variant.with_methods(changed))
    before, after = (_pulled(at, at.bound(variant)).value for variant in variants)
    return _change(before, after)


def _pulled(at: Place, program: Program) -> Gradient:
    executor = at.run_loop(program)
    at.after.put(program, at.tapes)
    return at.gradient(program, executor)


def _change(before: Vector, after: Vector) -> float:
    size = float(trees.norm(before))
    off = float(trees.norm(trees.merge(after, trees.scale(-1.0, before))))
    return off / size if size else (inf if off else 0.0)
