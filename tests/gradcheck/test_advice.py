"""Each piece of advice: when it is given, and when it is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from builders import pair, problem
from cases import Maml, Point, game, nested, numbers, positive, quadratic
from torch import Tensor

from mlograph import Graph
from mlograph.gradcheck import AS_RUN, SOLVED, Settings
from mlograph.gradcheck import advice as rules
from mlograph.gradcheck.advice import RULES, advice
from mlograph.gradcheck.facts import Facts, LowerFacts
from mlograph.gradcheck.report import Reference, Row, Solve
from mlograph.gradcheck.spectrum import Spectrum
from mlograph.language.methods import (
    ConjugateGradient,
    Darts,
    EvolutionStrategies,
    Exact,
    Gmres,
    Method,
    Neumann,
    Unroll,
)


def facts(method: Method, *, spectrum: Spectrum | None = None, **changes: Any) -> Facts:
    """What is measured where all is well, but for some changes."""
    lower = {k: changes.pop(k) for k in ("start", "end", "asymmetry", "goes_on") if k in changes}
    row = {
        k: changes.pop(k)
        for k in ("errors", "at_rest", "cosine", "seconds", "solves")
        if k in changes
    }
    name = str(method.model_dump()["method"])
    well = {"errors": {SOLVED: 1e-6}, "at_rest": 1e-6, "cosine": 1.0, "seconds": 1.0}
    own = Row(name, name, configured=True, **{**well, **row})
    better = Row("best", "exact", errors={SOLVED: 1e-9}, cosine=1.0, seconds=3.0)
    seen = spectrum or Spectrum(1.0, 4.0)
    below = LowerFacts("inner", method, **{"start": 1.0, "end": 1e-9, **lower}, spectrum=seen)
    return replace(
        Facts(0.01, (below,), (own, better), Reference(SOLVED, (1.0,), 0.0), "best"), **changes
    )


Rule = Callable[[Facts], Any]

FIRES: dict[Rule, tuple[Facts, str]] = {
    rules.neumann_step: (
        facts(Neumann(alpha=0.575)),
        "neumann diverges through 'inner': alpha·λmax = 2.3, and 2 is too much; use alpha: auto",
    ),
    rules.negative_curvature: (
        facts(ConjugateGradient(damping=0.1), spectrum=Spectrum(-0.5, 4.0)),
        "'inner' is not convex where its loop ends (eigenvalues from -0.5 to 4): use gmres, which "
        "does without, damping above 0.5, or unroll",
    ),
    rules.not_symmetric: (
        facts(ConjugateGradient(), asymmetry=0.5),
        "the condition of 'inner' is a field, whose Jacobian is not symmetric, and cg takes it "
        "for symmetric: use gmres, bicgstab or normal_cg",
    ),
    rules.unfinished_solve: (
        facts(
            ConjugateGradient(iterations=5),
            spectrum=Spectrum(0.01, 4.0),
            solves=(Solve("inner", "max iterations", 5, 0.3),),
        ),
        "the linear system of 'inner' was left at a residual of 0.3 after 5 products: more "
        "iterations, about 83 for 0.01 (the condition number is 4e+02)",
    ),
    rules.far_from_solved: (
        facts(ConjugateGradient(), errors={SOLVED: 0.4}, end=0.25),
        "the loop of 'inner' ends with 25% of the gradient that it began with, and cg takes it "
        "for solved (where it is solved, the error is 1e-06): more unroll_steps, a better "
        "optimiser, or unroll",
    ),
    rules.off_course: (
        facts(Darts(), cosine=0.6),
        "against 'solved', darts points elsewhere (cosine 0.60): the identity stands for the "
        "inverse Hessian; best does not, and takes 3.0 times as long",
    ),
    rules.partial_curvature: (
        facts(Exact(curvature="partial"), partial=0.25),
        "partial curvature moves this hypergradient by 25%: write curvature: total",
    ),
    rules.damping_bias: (
        facts(Exact(damping=1.0), damping=0.3),
        "damping moves this hypergradient by 30%: less of it is less wrong, as long as the solver "
        "converges",
    ),
    rules.random_numbers: (
        facts(Exact(), noise=0.35),
        "with other random numbers (dropout) on the same batches this hypergradient differs by "
        "35%: the check holds them fixed, a run does not",
    ),
    rules.scattered: (
        facts(EvolutionStrategies(samples=8), scatter=0.19),
        "two estimates by es, each from 8 random directions, have a cosine of 0.19: it is right on "
        "average only, and more samples scatter less",
    ),
}

SILENT: dict[Rule, list[Facts]] = {
    rules.neumann_step: [
        facts(Neumann(alpha=0.4)),
        facts(Neumann(), spectrum=Spectrum(1.0, 100.0)),
        facts(Exact(), spectrum=Spectrum(1.0, 100.0)),
    ],
    rules.negative_curvature: [
        facts(ConjugateGradient()),
        facts(ConjugateGradient(damping=0.6), spectrum=Spectrum(-0.5, 4.0)),
        facts(ConjugateGradient(), spectrum=Spectrum(-1e-12, 4.0)),
        facts(Unroll(), spectrum=Spectrum(-0.5, 4.0)),
    ],
    rules.not_symmetric: [
        facts(Gmres(), asymmetry=0.5),
        facts(ConjugateGradient(), asymmetry=1e-15),
    ],
    rules.unfinished_solve: [
        facts(ConjugateGradient(), solves=(Solve("inner", "converged", 5, 1e-9),)),
        facts(ConjugateGradient(), solves=(Solve("inner", "max iterations", 5, 1e-4),)),
        facts(ConjugateGradient(), solves=(Solve("inner", "max iterations", 5, float("nan")),)),
    ],
    rules.far_from_solved: [
        facts(ConjugateGradient()),
        facts(ConjugateGradient(), errors={SOLVED: 0.4}, at_rest=0.4, end=0.25),
        facts(Unroll(), errors={AS_RUN: 1e-9}, at_rest=float("nan"), end=0.25),
        facts(ConjugateGradient(), errors={}, at_rest=float("nan")),
    ],
    rules.off_course: [
        facts(Darts()),
        facts(Darts(), cosine=0.6, judged_by=Reference(SOLVED, trouble="none")),
        facts(Exact(), cosine=float("nan")),
    ],
    rules.partial_curvature: [facts(Exact()), facts(Exact(curvature="partial"), partial=1e-3)],
    rules.damping_bias: [facts(Exact()), facts(Exact(damping=1e-3), damping=1e-3)],
    rules.random_numbers: [facts(Exact()), facts(Exact(), noise=1e-4)],
    rules.scattered: [
        facts(Exact()),
        facts(EvolutionStrategies(samples=800), scatter=0.99),
        facts(EvolutionStrategies(samples=8)),
    ],
}


def test_every_rule_is_here():
    assert [*FIRES] == [*RULES] == [*SILENT]


@pytest.mark.parametrize("rule", FIRES, ids=lambda rule: rule.__name__)
def test_a_rule_speaks_where_it_should(rule: Rule):
    seen, text = FIRES[rule]
    assert [*rule(seen)] == [text]
    assert advice(seen) == (text,)


@pytest.mark.parametrize(
    ("rule", "seen"), [(rule, one) for rule, ones in SILENT.items() for one in ones]
)
def test_a_rule_is_silent_otherwise(rule: Rule, seen: Facts):
    assert [*rule(seen)] == []


class TestOfIterations:
    def solve(self, method: Method, spectrum: Spectrum) -> str:
        one = Solve("inner", "max iterations", 5, 0.3)
        (text,) = rules.unfinished_solve(facts(method, spectrum=spectrum, solves=(one,)))
        return text

    def test_a_neumann_series_needs_as_many_as_the_condition_number_asks_for(self):
        text = self.solve(Neumann(), Spectrum(0.1, 4.0))
        assert text.endswith("more iterations, about 182 for 0.01 (the condition number is 40)")

    def test_a_neumann_step_of_ones_own_has_its_own_rate(self):
        text = self.solve(Neumann(alpha=0.05), Spectrum(0.1, 4.0))
        assert text.endswith("about 919 for 0.01 (the condition number is 40)")
        text = self.solve(Neumann(alpha=0.499), Spectrum(0.1, 4.0))
        assert text.endswith("about 1149 for 0.01 (the condition number is 40)")

    def test_a_series_that_diverges_does_not_want_more(self):
        one = Solve("inner", "max iterations", 5, 0.3)
        seen = facts(Neumann(alpha=0.6), spectrum=Spectrum(0.1, 4.0), solves=(one,))
        assert [*rules.unfinished_solve(seen)] == []

    def test_a_singular_hessian_asks_for_damping(self):
        text = self.solve(ConjugateGradient(), Spectrum(0.0, 4.0))
        assert text.endswith("so damping may be what is missing")

    def test_other_methods_just_need_more(self):
        assert self.solve(Gmres(), Spectrum(0.1, 4.0)).endswith("products: more iterations")


def test_a_loop_that_goes_on_may_come_nearer():
    seen = facts(ConjugateGradient(), errors={SOLVED: 0.4}, end=0.25, goes_on=True)
    (text,) = rules.far_from_solved(seen)
    assert text.endswith(
        "; its loops go on where the last one ended, so later in a run (--from) it may be nearer"
    )


def test_without_a_solution_the_gradient_that_is_left_tells():
    seen = facts(ConjugateGradient(), errors={}, at_rest=float("nan"), end=0.5)
    assert "ends with 50% of the gradient" in next(rules.far_from_solved(seen))


class TestMeasured:
    """The facts that rules go by, on graphs where they are known."""

    def told(self, graph: Graph, *methods: str, **rest: Any) -> str:
        settings = Settings(methods=methods or ("exact",), repeats=1, directions=2, **rest)
        (report,) = graph.gradcheck(settings).uppers
        return "\n".join(report.advice)

    def test_all_is_well(self):
        assert self.told(quadratic().graph("exact")) == ""

    def test_a_long_neumann_step(self):
        told = self.told(quadratic().graph({"method": "neumann", "alpha": 0.46}))
        assert "alpha·λmax = 2.3" in told

    def test_partial_curvature(self):
        case = nested(partial=True)
        told = self.told(case.graph("exact"), uppers=("top",))
        truth = nested(partial=False).closed_form(inverse_of)
        off = (truth - case.closed_form(inverse_of)).norm() / case.closed_form(inverse_of).norm()
        assert f"partial curvature moves this hypergradient by {float(off):.0%}" in told

    def test_damping(self):
        case = quadratic()
        told = self.told(case.graph({"method": "exact", "damping": 0.5}))
        assert "damping moves this hypergradient by" in told

    def test_a_loop_cut_short(self):
        told = self.told(Maml(weight=0.7).graph("cg"))
        maml = Maml(weight=0.7)
        left = maml.hessian @ (maml.adapted - maml.u)
        gone = maml.A @ maml.u - maml.b
        share = (gone + left).norm() / gone.norm()
        assert f"ends with {float(share):.0%} of the gradient that it began with" in told

    def test_a_field(self):
        assert "is a field" in self.told(game().graph("cg"))

    def test_an_inner_problem_that_is_not_convex(self):
        A = positive(3, seed=1) - 2.0 * positive(3, seed=2, condition=1.0)

        def fit(lower: Any, upper: Any) -> Tensor:
            return 0.5 * lower() @ A @ lower() - lower() @ upper()

        declared = pair(
            problem(Point(numbers(3, seed=1)), lambda lower: lower().square().sum()),
            problem(Point(numbers(3, seed=2)), fit, hypergradient="cg"),
        )
        assert "'lower' is not convex where its loop ends (eigenvalues from -1 to 3)" in self.told(
            declared
        )

    def test_a_first_order_method_off_course(self):
        told = self.told(quadratic().graph("first_order"))
        assert "first_order points elsewhere (cosine 0.58)" in told
        assert "; exact does not" in told

    def test_estimates_that_scatter(self):
        rest = {"references": (AS_RUN,)}
        few = {"method": "es", "samples": 1}
        told = self.told(Maml(weight=0.7).graph(few), **rest)
        assert "two estimates by es, each from 1 random directions, have a cosine of" in told
        # Here most of the hypergradient is direct.
        assert "two estimates" not in self.told(quadratic().graph(few), **rest)


def inverse_of(H: Tensor, v: Tensor) -> Tensor:
    from cases import inverse

    return inverse(H, v)
