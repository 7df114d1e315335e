"""What one period of a plan evaluates, and how often."""

from __future__ import annotations

from mlograph.graph import ProblemGraph
from mlograph.language.methods.evaluations import GRADIENT, Evaluations, Loop
from mlograph.plan import Plan


def evaluations(graph: ProblemGraph, plan: Plan) -> dict[str, Evaluations]:
    """Evaluations of each problem's loss in one period, at most.

    The first step, which looks for edges without an effect, takes some more, and so do iterations
    that a total Hessian needs below it.
    """
    found = {name: GRADIENT.times(rate.passes) for name, rate in plan.rates.items()}
    for upper, sweep in plan.sweeps.items():
        for visit in sweep.visits:
            spec = graph.problems[visit.problem]
            loop = Loop(spec.unroll_steps, spec.gradient_accumulation)
            pull = spec.hypergradient.cost(loop, len(visit.sends_to))
            found[visit.problem] += pull.times(plan.rates[upper].passes)
    return found
