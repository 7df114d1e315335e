"""A whole check, from a graph to a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from math import inf, nan

import torch

from mlograph.bind import choose_device
from mlograph.components import Imports
from mlograph.errors import UsageError, did_you_mean
from mlograph.gradcheck.advice import advice
from mlograph.gradcheck.clock import Clock, OutOfTimeError, Tell, silent
from mlograph.gradcheck.facts import Facts, lower_facts, noise, scatter, undamped, whole
from mlograph.gradcheck.place import Place, reach
from mlograph.gradcheck.references import Solved, as_run, solved
from mlograph.gradcheck.report import (
    AS_RUN,
    KINDS,
    PRECISIONS,
    SOLVED,
    Reference,
    Report,
    Settings,
    UpperReport,
)
from mlograph.gradcheck.rows import (
    Candidate,
    Judge,
    Measured,
    candidates,
    compared,
    goes_through_loop,
    price,
)
from mlograph.gradcheck.variants import Variant, apart
from mlograph.graph import ProblemGraph
from mlograph.language.methods import METHODS
from mlograph.plan import Plan
from mlograph.randomness import untouched

_LEFT_OUT = "not asked for"


# Of the seconds that are left for a hypergradient, in this order: for either reference, and for
# what advice goes by.
_RUN_SHARE, _SOLVED_SHARE, _FACTS_SHARE = 0.35, 0.3, 0.25

# A method may take so many times what would be its share; most take less.
_PATIENCE = 3.0


def check(
    graph: ProblemGraph,
    plan: Plan,
    imports: Imports,
    settings: Settings,
    tell: Tell = silent,
) -> Report:
    """Compare the hypergradients of a graph with finite differences, and its methods with another.

    Everything that is moved is put back; nothing is written.

    Args:
        graph: what to check.
        plan: its schedule.
        imports: where components may come from.
        settings: how to check.
        tell: called with what is being computed.

    Raises:
        GraphError: something cannot be built.
        UsageError: there is no hypergradient to check, or the settings do not fit the graph.
        NumericError: numbers went wrong on the way to the point of the check.
    """
    uppers = _uppers(graph, plan, settings)
    _check_settings(settings)
    with untouched(choose_device(graph)), _threads(graph.spec.engine.threads):
        clock = Clock(settings.budget, tell)
        reports = []
        for number, upper in enumerate(uppers):
            part = clock.share(len(uppers) - number)
            reports.append(_checked(graph, imports, upper, settings, part))
    start = "the start" if settings.start is None else f"the end of {settings.start}"
    return Report(graph.spec.name, start, settings.precision, settings.tol, tuple(reports))


def _uppers(graph: ProblemGraph, plan: Plan, settings: Settings) -> tuple[str, ...]:
    able = [name for name in graph.order if name in plan.sweeps and plan.sweeps[name].visits]
    if not able:
        raise UsageError(
            f"'{graph.spec.name}' has no hypergradient to check: no problem has another below it "
            "whose solution answers to it"
        )
    for name in settings.uppers:
        if name not in graph.problems:
            raise UsageError(f"no problem '{name}' ({did_you_mean(name, graph.problems)})")
        if name not in able:
            raise UsageError(
                f"'{name}' has no hypergradient: nothing below it answers to it "
                f"(those that have one: {', '.join(able)})"
            )
    return tuple(dict.fromkeys(settings.uppers)) or tuple(able)


def _check_settings(settings: Settings) -> None:
    for what, names, known in (
        ("method", settings.methods, tuple(METHODS)),
        ("reference", settings.references, KINDS),
        ("precision", (settings.precision,), PRECISIONS),
    ):
        for name in names:
            if name not in known:
                near = did_you_mean(name, known) if what != "precision" else ""
                raise UsageError(f"no {what} '{name}' ({near or 'known: ' + ', '.join(known)})")
    for name, number in (("directions", settings.directions), ("repeats", settings.repeats)):
        if number < 1:
            raise UsageError(f"{name}: expected 1 or more, got {number}")
    # Only a budget may be infinite.
    sizes = (("tol", settings.tol, inf), ("step", settings.step, inf))
    for name, size, bound in (*sizes, ("budget", settings.budget, nan)):
        if size is not None and (not size > 0.0 or size == bound):
            raise UsageError(f"{name}: expected a positive number, got {size:g}")


def _checked(
    graph: ProblemGraph, imports: Imports, upper: str, settings: Settings, clock: Clock
) -> UpperReport:
    clock.tell(f"{upper}: running to the end of its inner loops")
    variant = Variant.of(apart(graph.spec, settings.precision), imports)
    with reach(variant, upper, settings.start) as at:
        end, run = _references(at, settings, clock)
        judge = Judge(at, settings, run, end, clock)
        first, *rest = candidates(at, settings)
        claimed = AS_RUN if goes_through_loop(variant, at) else SOLVED
        judged_by = _judge(run, end.reference, claimed)
        # What the graph asks for is waited for, whatever it takes.
        mine = judge.measured(first, inf)
        facts = _facts(judge, mine, judged_by)
        rows, best = compared([mine, *_others(judge, tuple(rest))], judged_by)
        facts = replace(facts, rows=tuple(rows), best=best)
        return UpperReport(
            upper=upper,
            size=at.sizes[upper],
            through=tuple((name, at.sizes[name]) for name in at.visited),
            claimed=claimed,
            judged_by=judged_by.kind,
            references=(end.reference, run),
            rows=facts.rows,
            best=best,
            notes=tuple(_notes(end, facts)),
            advice=advice(facts),
            passed=judged_by.holds and facts.own.error(judged_by.kind) <= settings.tol,
        )


def _references(at: Place, settings: Settings, clock: Clock) -> tuple[Solved, Reference]:
    wanted = settings.references or KINDS
    end, run = Solved(_absent(SOLVED)), _absent(AS_RUN)
    if AS_RUN in wanted:
        try:
            with clock.at_most(_RUN_SHARE * clock.left):
                run = as_run(at, at.bound(), settings, clock)
        except OutOfTimeError as error:
            run = Reference(AS_RUN, trouble=str(error))
    if SOLVED in wanted:
        try:
            with clock.at_most(_SOLVED_SHARE * clock.left):
                end = solved(at, settings, clock)
        except OutOfTimeError as error:
            end = Solved(Reference(SOLVED, trouble=str(error)))
    return end, run


def _others(judge: Judge, chosen: tuple[Candidate, ...]) -> Iterator[Measured]:
    """The rows of others than the graph's own, in the order of the registry.

    The cheap ones come first, so that most are there where time is short.
    """
    at, clock = judge.at, judge.clock
    order = sorted(range(len(chosen)), key=lambda number: price(at, chosen[number]))
    found: dict[int, Measured] = {}
    for place, number in enumerate(order):
        share = _PATIENCE * clock.left / (len(order) - place)
        found[number] = judge.measured(chosen[number], min(clock.left, share))
    yield from (found[number] for number in range(len(chosen)))


def _facts(judge: Judge, own: Measured, judged_by: Reference) -> Facts:
    """What was measured of the graph's own choice; of the other methods there is nothing yet."""
    at, clock = judge.at, judge.clock
    clock.tell(f"{at.upper}: what advice needs to know")
    facts = Facts(judge.settings.tol, (), (own.row,), judged_by)
    try:
        with clock.at_most(_FACTS_SHARE * clock.left):
            facts = replace(
                facts, lowers=tuple(lower_facts(at, begun=judge.settings.start is not None))
            )
            if own.value is not None:
                facts = replace(facts, damping=undamped(at), partial=whole(at))
                facts = replace(facts, noise=noise(at), scatter=scatter(at))
    except OutOfTimeError:
        return replace(facts, complete=False)
    return facts


def _judge(run: Reference, end: Reference, claimed: str) -> Reference:
    """What the graph's own method has to agree with: what it claims to give, if that is known."""
    first, second = (run, end) if claimed == AS_RUN else (end, run)
    return second if second.holds and not first.holds else first


def _absent(kind: str) -> Reference:
    return Reference(kind, trouble=_LEFT_OUT)


def _notes(end: Solved, facts: Facts) -> Iterator[str]:
    if not facts.complete:
        yield "there was no time to measure all that advice goes by; --budget gives more"
    for name in end.saddle:
        yield (
            f"'{name}' is not convex: Newton's method from the end of its loop found a stationary "
            "point that is no minimum, and 'solved' is about that"
        )


@contextmanager
def _threads(number: int | None) -> Iterator[None]:
    before = torch.get_num_threads()
    if number is not None:
        torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)
