"""What to do about what was measured: one small function a rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, inf, log, sqrt

from mlograph.gradcheck.facts import Facts, LowerFacts
from mlograph.gradcheck.report import SOLVED, Row, Solve, is_known
from mlograph.language.methods import (
    ConjugateGradient,
    Damped,
    EvolutionStrategies,
    Implicit,
    Neumann,
    Nystrom,
)

Rule = Callable[[Facts], Iterator[str]]

# An angle that an optimiser will hardly notice: 18 degrees.
_CLOSE = 0.95


def advice(facts: Facts) -> tuple[str, ...]:
    """What all rules say."""
    return tuple(text for rule in RULES for text in rule(facts))


def neumann_step(facts: Facts) -> Iterator[str]:
    """A Neumann series diverges where α·λmax ≥ 2."""
    for lower in facts.lowers:
        reach = _reach(lower)
        if reach >= 2.0:
            yield (
                f"neumann diverges through '{lower.name}': alpha·λmax = {reach:.2g}, and 2 is too "
                "much; use alpha: auto"
            )


def _reach(lower: LowerFacts) -> float:
    """α·λmax of a Neumann series with a step that the graph gives; zero for any other."""
    method, seen = lower.method, lower.spectrum
    if not isinstance(method, Neumann) or method.alpha == "auto" or seen is None:
        return 0.0
    return method.alpha * (seen.largest + method.damping)


def negative_curvature(facts: Facts) -> Iterator[str]:
    """Where an inner problem is not convex, its stationary point need not be its solution."""
    for lower in facts.lowers:
        seen = lower.spectrum
        if not isinstance(lower.method, Damped) or seen is None:
            continue
        damping = lower.method.damping
        if seen.smallest + damping < -1e-6 * abs(seen.largest):
            yield (
                f"'{lower.name}' is not convex where its loop ends (eigenvalues from "
                f"{seen.smallest:.2g} to {seen.largest:.2g}): use gmres, which does without, "
                f"damping above {-seen.smallest:.2g}, or unroll"
            )


def not_symmetric(facts: Facts) -> Iterator[str]:
    """Some solvers are for symmetric matrices only."""
    for lower in facts.lowers:
        if isinstance(lower.method, ConjugateGradient | Nystrom) and lower.asymmetry > 1e-6:
            yield (
                f"the condition of '{lower.name}' is a field, whose Jacobian is not symmetric, and "
                f"{lower.method.method} takes it for symmetric: use gmres, bicgstab or normal_cg"
            )


def unfinished_solve(facts: Facts) -> Iterator[str]:
    """A linear system that ran out of iterations, and how many it would take."""
    for solve in facts.own.solves:
        lower = _lower(facts, solve.problem)
        if lower is None or "max iterations" not in solve.status:
            continue
        if not solve.residual > facts.tol or _reach(lower) >= 2.0:
            continue
        needed = _needed(lower, facts.tol, solve)
        yield (
            f"the linear system of '{solve.problem}' was left at a residual of "
            f"{solve.residual:.1g} after {solve.products} products: more iterations{needed}"
        )


def _needed(lower: LowerFacts, tol: float, solve: Solve) -> str:
    """The iterations that a condition number asks for, in words; empty where nothing is known.

    In the norm of H, the error falls by (√κ − 1)/(√κ + 1) in each step of conjugate gradients, and
    by 1 − α·λmin in each term of a Neumann series, or by α·λmax − 1 where that is slower; with
    `alpha: auto`, by 1 − 1/κ.
    """
    if lower.spectrum is None or not isinstance(lower.method, Damped):
        return ""
    condition = lower.spectrum.condition(lower.method.damping)
    if condition == inf:
        return "; the Hessian is close to singular, so damping may be what is missing"
    if isinstance(lower.method, ConjugateGradient):
        count = ceil(0.5 * sqrt(condition) * log(2.0 * sqrt(condition) / tol))
    elif isinstance(lower.method, Neumann):
        reach = _reach(lower) or 1.0
        factor = max(1.0 - reach / condition, reach - 1.0)
        count = ceil(log(tol) / log(factor)) if factor > 0.0 else 1
    else:
        return ""
    if count <= solve.products:
        return ""
    return f", about {count} for {tol:g} (the condition number is {condition:.2g})"


def far_from_solved(facts: Facts) -> Iterator[str]:
    """Implicit methods speak of the solution; the loop may not have come there."""
    own = facts.own
    error, at_rest = own.error(SOLVED), own.at_rest
    implicit = [lower for lower in facts.lowers if isinstance(lower.method, Implicit)]
    if not implicit:
        return
    if is_known(error) and not (error > facts.tol and at_rest < 0.5 * error):
        return
    for lower in implicit:
        if not (lower.end > 0.1 * lower.start and lower.end > 0.0):
            if not is_known(error):
                continue
            if not lower.end > 1e-3 * lower.start:
                continue
        there = f" (where it is solved, the error is {at_rest:.1g})" if is_known(at_rest) else ""
        yield (
            f"the loop of '{lower.name}' ends with {_share(lower)} of the gradient that it began "
            f"with, and {own.method or 'an implicit method'} takes it for solved{there}: more "
            f"unroll_steps, a better optimiser, or unroll{_later(lower)}"
        )


def _later(lower: LowerFacts) -> str:
    if not lower.goes_on:
        return ""
    return "; its loops go on where the last one ended, so later in a run (--from) it may be nearer"


def _share(lower: LowerFacts) -> str:
    return f"{lower.end / lower.start:.0%}" if lower.start else "more"


def off_course(facts: Facts) -> Iterator[str]:
    """The hypergradient points elsewhere; what a better one costs."""
    own = facts.own
    if not facts.judged_by.holds or not own.cosine < _CLOSE:
        return
    better = [row for row in facts.rows if row.cosine > 0.99 and not row.configured]
    if not better:
        return
    cheapest = min(better, key=lambda row: row.seconds)
    why = _neglected(facts)
    yield (
        f"against '{facts.judged_by.kind}', {own.name} points elsewhere (cosine {own.cosine:.2f})"
        f"{why}; {cheapest.name} does not, and takes {_times(cheapest, own)}"
    )


def _neglected(facts: Facts) -> str:
    texts = {lower.method.neglects for lower in facts.lowers if lower.method.neglects}
    return f": {'; '.join(sorted(texts))}" if texts else ""


def _times(row: Row, other: Row) -> str:
    factor = row.seconds / other.seconds
    return f"{factor:.1f} times as long" if factor >= 1.05 else "no longer"


def partial_curvature(facts: Facts) -> Iterator[str]:
    """How much partial curvature leaves out."""
    if facts.partial > facts.tol:
        yield (
            f"partial curvature moves this hypergradient by {facts.partial:.0%}: "
            "write curvature: total"
        )


def damping_bias(facts: Facts) -> Iterator[str]:
    """How much damping adds."""
    if facts.damping > facts.tol:
        yield (
            f"damping moves this hypergradient by {facts.damping:.0%}: less of it is less wrong, "
            "as long as the solver converges"
        )


def random_numbers(facts: Facts) -> Iterator[str]:
    """Dropout and the like are held fixed here, and are not in a run."""
    if facts.noise > facts.tol:
        yield (
            f"with other random numbers (dropout) on the same batches this hypergradient differs "
            f"by {facts.noise:.0%}: the check holds them fixed, a run does not"
        )


def scattered(facts: Facts) -> Iterator[str]:
    """Evolution strategies point the right way on average; one estimate may be far from that."""
    methods = [x.method for x in facts.lowers if isinstance(x.method, EvolutionStrategies)]
    if methods and facts.scatter < _CLOSE:
        samples = min(method.samples for method in methods)
        yield (
            f"two estimates by es, each from {samples} random directions, have a cosine of "
            f"{facts.scatter:.2f}: it is right on average only, and more samples scatter less"
        )


RULES: tuple[Rule, ...] = (
    neumann_step,
    negative_curvature,
    not_symmetric,
    unfinished_solve,
    far_from_solved,
    off_course,
    partial_curvature,
    damping_bias,
    random_numbers,
    scattered,
)


def _lower(facts: Facts, name: str) -> LowerFacts | None:
    return next((lower for lower in facts.lowers if lower.name == name), None)
