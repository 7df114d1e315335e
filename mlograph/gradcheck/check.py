"""A whole check, from a graph to a report."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import torch

from mlograph.bind import choose_device
from mlograph.components import Imports
from mlograph.errors import UsageError, did_you_mean
from mlograph.gradcheck.advice import advice
from mlograph.gradcheck.facts import Facts, lower_facts, noise, undamped, whole
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
from mlograph.gradcheck.rows import Judge, candidates, compared, goes_through_loop
from mlograph.gradcheck.variants import Variant, apart
from mlograph.graph import ProblemGraph
from mlograph.plan import Plan
from mlograph.randomness import untouched

_LEFT_OUT = "not asked for"


def check(graph: ProblemGraph, plan: Plan, imports: Imports, settings: Settings) -> Report:
    """Compare the hypergradients of a graph with finite differences, and its methods with another.

    Everything that is moved is put back; nothing is written.

    Args:
        graph: what to check.
        plan: its schedule.
        imports: where components may come from.
        settings: how to check.

    Raises:
        GraphError: something cannot be built.
        UsageError: there is no hypergradient to check, or the settings do not fit the graph.
        NumericError: numbers went wrong on the way to the point of the check.
    """
    uppers = _uppers(graph, plan, settings)
    _check_settings(settings)
    with untouched(choose_device(graph)), _threads(graph.spec.engine.threads):
        reports = tuple(_checked(graph, imports, upper, settings) for upper in uppers)
    start = "the start" if settings.start is None else f"the end of {settings.start}"
    return Report(graph.spec.name, start, settings.precision, settings.tol, reports)


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
    return settings.uppers or tuple(able)


def _check_settings(settings: Settings) -> None:
    for kind in settings.references:
        if kind not in KINDS:
            raise UsageError(f"no reference '{kind}' ({did_you_mean(kind, KINDS)})")
    if settings.precision not in PRECISIONS:
        hint = did_you_mean(settings.precision, PRECISIONS)
        raise UsageError(f"no precision '{settings.precision}' ({hint})")
    for name, number in (("directions", settings.directions), ("repeats", settings.repeats)):
        if number < 1:
            raise UsageError(f"{name}: expected 1 or more, got {number}")
    for name, size in (("tol", settings.tol), ("step", settings.step)):
        if size is not None and not size > 0.0:
            raise UsageError(f"{name}: expected a positive number, got {size:g}")


def _checked(graph: ProblemGraph, imports: Imports, upper: str, settings: Settings) -> UpperReport:
    variant = Variant.of(apart(graph.spec, settings.precision), imports)
    with reach(variant, upper, settings.start) as at:
        chosen = tuple(candidates(at, settings))
        end, run = _references(at, settings)
        judge = Judge(at, settings, run, end)
        found = [judge.measured(candidate) for candidate in chosen]
        judged_by = _judge(run, end.reference, through_loop=goes_through_loop(variant, at))
        rows, best = compared(found, judged_by)
        facts = Facts(
            tol=settings.tol,
            lowers=tuple(lower_facts(at)),
            rows=tuple(rows),
            judged_by=judged_by,
            best=best,
        )
        own = facts.own
        if not own.failure:
            facts = replace(facts, damping=undamped(at), partial=whole(at), noise=noise(at))
        return UpperReport(
            upper=upper,
            size=at.sizes[upper],
            through=tuple((name, at.sizes[name]) for name in at.visited),
            judged_by=judged_by.kind,
            references=(end.reference, run),
            rows=facts.rows,
            best=best,
            notes=tuple(_notes(end)),
            advice=advice(facts),
            passed=judged_by.holds and own.error(judged_by.kind) <= settings.tol,
        )


def _references(at: Place, settings: Settings) -> tuple[Solved, Reference]:
    wanted = settings.references or KINDS
    end = solved(at, settings) if SOLVED in wanted else Solved(_absent(SOLVED))
    run = as_run(at, at.bound(), settings) if AS_RUN in wanted else _absent(AS_RUN)
    return end, run


def _judge(run: Reference, end: Reference, *, through_loop: bool) -> Reference:
    """What the graph's own method has to agree with: what it claims to give, if that is known."""
    first, second = (run, end) if through_loop else (end, run)
    return second if second.holds and not first.holds else first


def _absent(kind: str) -> Reference:
    return Reference(kind, trouble=_LEFT_OUT)


def _notes(end: Solved) -> Iterator[str]:
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
