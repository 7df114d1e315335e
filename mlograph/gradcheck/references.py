"""What hypergradients are compared with: finite differences of an upper objective."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import hypot, inf, isfinite

from mlograph import trees
from mlograph.errors import GraphError, MlographError
from mlograph.executor import Executor
from mlograph.gradcheck.differences import Line, directions, slope
from mlograph.gradcheck.frozen import Snapshot
from mlograph.gradcheck.place import Place
from mlograph.gradcheck.report import AS_RUN, SOLVED, Reference, Settings
from mlograph.gradcheck.rest import Rest, move, settle
from mlograph.language.methods import ConjugateGradient, Exact, Method
from mlograph.program import Program
from mlograph.trees import Vector

# F(u): the upper loss as a function of the upper problem's parameters.
Objective = Callable[[Vector], float]

_DENSE = 500

# Of F: slopes that are less stand for zero.
_FLOOR = 1e-9


@dataclass(frozen=True)
class Solved:
    """Finite differences of the solved objective.

    Attributes:
        reference: these.
        rest: all problems where the lower ones are solved; None where they could not be.
        saddle: the problems that rest where their curvature is negative in some direction.
    """

    reference: Reference
    rest: Snapshot | None = None
    saddle: tuple[str, ...] = ()


class _UnsolvedError(MlographError):
    """A lower problem could not be solved."""


def as_run(at: Place, program: Program, settings: Settings) -> Reference:
    """Of F(u) = L_u(u, z_T(u)), the inner loops run again from where they began.

    The same batches, the same random numbers, and the loops' starts move with u where they do.
    """
    params = program.problems[at.upper].model.params

    def objective(u: Vector) -> float:
        at.before.put(program, at.tapes)
        move(params, u)
        at.go(program, Executor(program))
        return at.loss(program)

    return _compared(AS_RUN, at, program, objective, settings)


def solved(at: Place, settings: Settings) -> Solved:
    """Of F(u) = L_u(u, z*(u)), every lower problem solved on the batch of its last step."""
    try:
        program = at.bound(at.variant.with_methods(precise(at)))
    except GraphError as error:
        return Solved(Reference(SOLVED, trouble=f"no solution to differentiate: {_first(error)}"))
    try:
        rests = settle(program, at.upper)
        _check(rests)
    except (MlographError, RuntimeError) as error:
        return Solved(Reference(SOLVED, trouble=str(error).splitlines()[0]))
    rest = Snapshot.of(program, at.tapes)
    params = program.problems[at.upper].model.params

    def objective(u: Vector) -> float:
        rest.put(program, at.tapes)
        move(params, u)
        _check(settle(program, at.upper))
        return at.loss(program)

    reference = _compared(SOLVED, at, program, objective, settings)
    return Solved(reference, rest, tuple(r.problem for r in rests if not r.minimum))


def relative_error(reference: Reference, found: tuple[float, ...]) -> float:
    """‖found − slopes‖ / ‖slopes‖; a difference below the reference's floor counts for nothing."""
    off = hypot(*(a - b for a, b in zip(found, reference.slopes, strict=True)))
    if off <= reference.floor:
        return 0.0
    size = max(hypot(*reference.slopes), reference.floor)
    return off / size if size else inf


def along(at: Place, hypergradient: Vector, like: Vector, settings: Settings) -> tuple[float, ...]:
    """⟨h, d⟩ for the directions of the references."""
    found = directions(like, settings.directions, settings.seed)
    return tuple(
        sum(float((hypergradient[n] * d[n]).sum()) for n in d if n in hypergradient) for d in found
    )


def _compared(
    kind: str, at: Place, program: Program, objective: Objective, settings: Settings
) -> Reference:
    params = program.problems[at.upper].model.params
    origin = {name: x.detach().clone() for name, x in params.items()}
    size = float(trees.norm(origin))
    try:
        first, second = objective(origin), objective(origin)
        if not isfinite(first) or abs(first - second) > 1e-10 * max(1.0, abs(first)):
            return Reference(kind, trouble=f"the same evaluation gives {first:g}, then {second:g}")
        found = [
            slope(_line(objective, origin, d), size, settings.step)
            for d in directions(origin, settings.directions, settings.seed)
        ]
    except (MlographError, RuntimeError) as error:
        return Reference(kind, trouble=str(error).splitlines()[0])
    slopes, floor = tuple(one.value for one in found), _FLOOR * abs(first)
    size, doubt = max(hypot(*slopes), floor), hypot(*(one.doubt for one in found))
    relative = doubt / size if size else 0.0
    trouble = ""
    if not doubt <= max(settings.tol * size, floor):
        trouble = f"finite differences contradict each other by {relative:.1g} (kinks or noise)"
    return Reference(kind, slopes, relative, floor, trouble)


def _line(objective: Objective, origin: Vector, direction: Vector) -> Line:
    return lambda t: objective(trees.axpy(t, direction, origin))


def precise(at: Place) -> dict[str, Method]:
    """How linear systems inside total gradients are solved here, where everything must be exact."""
    return {
        name: Exact() if at.sizes[name] <= _DENSE else ConjugateGradient(iterations=500, tol=1e-13)
        for name in at.answering
    }


def _check(rests: tuple[Rest, ...]) -> None:
    for rest in rests:
        if not rest.found:
            raise _UnsolvedError(
                f"'{rest.problem}' could not be solved: its parameters still move, with a gradient "
                f"of {rest.left:.1g}"
            )


def _first(error: GraphError) -> str:
    return error.faults[0].message
