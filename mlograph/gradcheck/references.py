"""What hypergradients are compared with: finite differences of an upper objective."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import hypot, inf, isfinite

import torch

from mlograph import trees
from mlograph.errors import GraphError, MlographError
from mlograph.executor import Executor
from mlograph.gradcheck.clock import Clock, OutOfTimeError
from mlograph.gradcheck.differences import Line, Slope, directions, first_steps, slope
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

_WORDS = {SOLVED: "everything solved", AS_RUN: "the loops run again"}


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


def as_run(at: Place, program: Program, settings: Settings, clock: Clock) -> Reference:
    """Of F(u) = L_u(u, z_T(u)), the inner loops run again from where they began.

    The same batches, the same random numbers, and the loops' starts move with u where they do.
    """
    params = program.problems[at.upper].model.params

    def objective(u: Vector) -> float:
        at.before.put(program, at.tapes)
        move(params, u)
        at.go(program, Executor(program))
        return at.loss(program)

    return _compared(AS_RUN, at, program, objective, settings, clock)


def solved(at: Place, settings: Settings, clock: Clock) -> Solved:
    """Of F(u) = L_u(u, z*(u)), every lower problem solved on the batch of its last step."""
    try:
        program = at.bound(at.variant.with_methods(precise(at)))
    except GraphError as error:
        return Solved(Reference(SOLVED, trouble=f"nothing to differentiate: {_first(error)}"))
    clock.tell(f"{at.upper}: solving what is below it")
    try:
        rests = settle(program, at.upper)
        _check(rests)
    except OutOfTimeError:
        raise
    except (MlographError, RuntimeError) as error:
        return Solved(Reference(SOLVED, trouble=str(error).splitlines()[0]))
    rest = Snapshot.of(program, at.tapes)
    params = program.problems[at.upper].model.params

    def objective(u: Vector) -> float:
        rest.put(program, at.tapes)
        move(params, u)
        _check(settle(program, at.upper))
        return at.loss(program)

    reference = _compared(SOLVED, at, program, objective, settings, clock)
    return Solved(reference, rest, tuple(r.problem for r in rests if not r.minimum))


def relative_error(reference: Reference, found: tuple[float, ...]) -> float:
    """‖found − slopes‖ / ‖slopes‖; a difference below the reference's floor counts for nothing."""
    # The last directions are missing where time ran out.
    off = hypot(*(a - b for a, b in zip(found, reference.slopes, strict=False)))
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
    kind: str,
    at: Place,
    program: Program,
    objective: Objective,
    settings: Settings,
    clock: Clock,
) -> Reference:
    origin = {n: x.detach().clone() for n, x in program.problems[at.upper].model.params.items()}
    found: list[Slope] = []
    try:
        clock.tell(f"{at.upper}: the loss, {_WORDS[kind]}")
        first, second = objective(origin), objective(origin)
        if not isfinite(first) or abs(first - second) > 1e-10 * max(1.0, abs(first)):
            return Reference(kind, trouble=f"the same evaluation gives {first:g}, then {second:g}")
        for one in _slopes(kind, at, objective, origin, settings, clock):
            found.append(one)
    except OutOfTimeError:
        if not found:
            raise
    except (MlographError, RuntimeError) as error:
        return Reference(kind, trouble=str(error).splitlines()[0])
    return _judged(kind, found, _FLOOR * abs(first), settings)


def _slopes(
    kind: str,
    at: Place,
    objective: Objective,
    origin: Vector,
    settings: Settings,
    clock: Clock,
) -> Iterator[Slope]:
    size, count = float(trees.norm(origin)), settings.directions
    firsts = first_steps(max(torch.finfo(x.dtype).eps for x in origin.values()))
    for number, d in enumerate(directions(origin, count, settings.seed), 1):
        clock.tell(f"{at.upper}: the loss along direction {number} of {count}, {_WORDS[kind]}")
        line, enough = _line(objective, origin, d), 0.1 * settings.tol
        found = slope(line, size, settings.step, firsts=firsts, enough=enough)
        # Where long steps met kinks along one direction, they will along the next.
        firsts = tuple(first for first in firsts if first <= found.first) or firsts
        yield found


def _judged(kind: str, found: list[Slope], floor: float, settings: Settings) -> Reference:
    """Slopes, and whether they can be relied on."""
    slopes = tuple(one.value for one in found)
    size, doubt = max(hypot(*slopes), floor), hypot(*(one.doubt for one in found))
    relative = doubt / size if size else 0.0
    trouble = ""
    if any(one.jumps for one in found):
        trouble = "the loss moves in jumps, as a count does, so it has no slope to compare with"
    elif not doubt <= max(settings.tol * size, floor):
        trouble = f"finite differences contradict each other by {relative:.1g} (kinks or noise)"
    return Reference(kind, slopes, relative, floor, trouble, settings.directions)


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
                f"'{rest.problem}' could not be solved: Newton's method still moved where the "
                f"gradient was {rest.left:.1g} (many solutions, or none?)"
            )


def _first(error: GraphError) -> str:
    """What is wrong, but not with one of the methods of `precise`, which nobody asked for."""
    message = error.faults[0].message
    for name in ("exact", "cg"):
        message = message.replace(f"'{name}'", "an implicit method")
    return message
