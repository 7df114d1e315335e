"""The inner loop run again with what it reads moved at random.

Of linear responses and quadratic losses, antithetic differences are exact: an estimate is then D·g,
with g what it estimates and D the mean of ddᵀ over its directions d, of which I is the expectation.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from cases import (
    CASES,
    RATE,
    Case,
    Maml,
    Point,
    after_loops,
    bound,
    chain,
    diamond,
    multiple,
    numbers,
    parameters,
    quadratic,
    relative_error,
    series,
)
from torch import Tensor, nn

from mlograph import Graph
from mlograph.executor import Executor
from mlograph.hypergradients.es import _normal
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.randomness import mixed

STEPS = 4
UNROLLED = series(RATE, STEPS)
NOTHING = multiple(0.0)


def es(estimate: str = "jacobian", samples: int = 5, **options: Any) -> dict[str, Any]:
    return {"method": "es", "estimate": estimate, "samples": samples, **options}


def looped(case: Case, methods: Mapping[str, Any], seed: int = 0) -> Program:
    """The case, with a method for each lower problem: loops of four steps, but of one for exact."""
    problems = {
        name: {
            "module": Point(point),
            "loss": case.losses[name],
            "optimizer": {"_target_": "sgd", "lr": RATE},
            "precision": "float64",
            "hypergradient": methods.get(name, "exact"),
            "unroll_steps": 1 if methods.get(name, "exact") == "exact" else STEPS,
            "unequal_unroll": True,
        }
        for name, point in case.points.items()
    }
    edges = [dict([edge.split(": ")]) for edge in case.edges]
    engine = {"of": case.upper, "device": "cpu", "seed": seed}
    return bound(Graph(problems=problems, edges=edges, engine=engine))


def found(case: Case, methods: Mapping[str, Any], seed: int = 0) -> Tensor:
    return after_loops(looped(case, methods, seed), case.upper)


def spread(
    size: int, samples: int, upper: str, lower: str, seed: int = 0, updates: int = STEPS
) -> Tensor:
    """D, of the first pull for a pair of problems, after so many updates of the lower one."""
    generator = torch.Generator().manual_seed(mixed(seed, upper, lower, 0, updates))
    like = {"head": torch.zeros(1).double(), "tail": torch.zeros(size - 1).double()}
    drawn = [torch.cat([*_normal(like, generator).values()]) for _ in range(samples)]
    return torch.stack([torch.outer(d, d) for d in drawn]).mean(0)


def parts(case: Case) -> tuple[Tensor, Tensor]:
    """The direct and the indirect part of the unrolled hypergradient."""
    direct = case.closed_form(NOTHING)
    return direct, case.closed_form(UNROLLED) - direct


def without_gradient(loss: Callable[..., Tensor]) -> Callable[..., Tensor]:
    def number(inner: Any, outer: Any) -> Tensor:
        return loss(inner, outer).detach()

    return number


def changed(case: Case, **losses: Callable[..., Tensor]) -> Case:
    return replace(case, losses={**case.losses, **losses})


@pytest.mark.parametrize("sigma", [1e-3, 0.1, 10.0])
@pytest.mark.parametrize("estimate", ["jacobian", "objective"])
def test_it_is_exact_along_its_directions(estimate: str, sigma: float):
    case, method = quadratic(), es(estimate, sigma=sigma)
    direct, indirect = parts(case)
    expected = direct + spread(3, 5, "outer", "inner") @ indirect
    assert relative_error(found(case, {"inner": method}), expected) < 1e-9


def test_the_directions_are_those_of_the_run_and_the_pass():
    case, method = quadratic(), es("jacobian")
    first = found(case, {"inner": method}, seed=3)
    assert torch.equal(found(case, {"inner": method}, seed=3), first)
    assert not torch.allclose(found(case, {"inner": method}, seed=4), first)
    direct, indirect = parts(case)
    expected = direct + spread(3, 5, "outer", "inner", seed=3) @ indirect
    assert relative_error(first, expected) < 1e-9
    seeds = {mixed(3, a, b, i, j) for a in "uv" for b in "uv" for i in (0, 1) for j in (0, 1)}
    assert len(seeds) == 16


def test_the_mean_of_many_directions_is_the_identity():
    errors = [
        float((spread(4, 50, "outer", "inner", seed) - torch.eye(4)).norm()) for seed in range(200)
    ]
    mean = torch.stack([spread(4, 50, "outer", "inner", seed) for seed in range(200)]).mean(0)
    assert float((mean - torch.eye(4)).norm()) < 0.1
    # E‖D − I‖² = (n² + n)/samples: what the docstring says of the variance.
    assert np.mean(np.square(errors)) == pytest.approx(20 / 50, rel=0.2)


@pytest.mark.parametrize("case", [c for c in CASES if not c.nested], ids=lambda case: case.name)
@pytest.mark.parametrize("estimate", ["jacobian", "objective"])
def test_it_points_the_way_of_the_unrolled_hypergradient(estimate: str, case: Case):
    lower = {name for name in case.points if name != case.upper}
    estimated = found(case, dict.fromkeys(lower, es(estimate, samples=100)))
    exact = case.closed_form(UNROLLED)
    assert torch.cosine_similarity(estimated, exact, dim=0) > 0.95
    assert float(estimated.norm() / exact.norm()) == pytest.approx(1.0, abs=0.35)


def test_a_loop_that_starts_from_what_is_moved_moves_with_it():
    case = Maml(weight=0.7)
    expected = spread(4, 5, "outer", "inner") @ case.unrolled
    program = bound(case.graph(es(), {"unroll_steps": STEPS}))
    expected = spread(4, 5, "outer", "inner") @ replace(case, steps=STEPS).unrolled
    assert relative_error(after_loops(program, "outer"), expected) < 1e-9


def test_one_side_is_exact_where_everything_is_linear():
    """The gradient of ⟨v, z(u)⟩ for a linear z; half the runs."""
    case, method = quadratic(), es("jacobian", antithetic=False)
    direct, indirect = parts(case)
    expected = direct + spread(3, 5, "outer", "inner") @ indirect
    assert relative_error(found(case, {"inner": method}), expected) < 1e-9


@pytest.mark.parametrize(("antithetic", "runs"), [(True, 10), (False, 5)])
def test_it_costs_as_many_runs_as_it_says(
    antithetic: bool, runs: int, monkeypatch: pytest.MonkeyPatch
):
    case, evaluated = quadratic(), []
    evaluate = Problem.evaluate

    def watched(self: Problem, *args: Any) -> Any:
        evaluated.append(self.name)
        return evaluate(self, *args)

    monkeypatch.setattr(Problem, "evaluate", watched)
    found(case, {"inner": es("objective", antithetic=antithetic)})
    assert evaluated.count("inner") == STEPS * (1 + runs)
    assert evaluated.count("outer") == 1 + 2 * 5 - 4 * (not antithetic)


class TestLossesWithoutAGradient:
    def test_the_direct_part_is_estimated_as_well(self):
        case = quadratic()
        direct, indirect = parts(case)
        number = changed(case, outer=without_gradient(case.losses["outer"]))
        expected = spread(3, 5, "outer", "inner") @ (direct + indirect)
        assert relative_error(found(number, {"inner": es("objective")}), expected) < 1e-9

    def test_it_is_estimated_once_though_two_problems_answer(self):
        """F reads two problems, and u directly: two visits, one of which moves u in F."""
        t, u = numbers(4, seed=1), numbers(3, seed=2)
        B, D = numbers(4, 3, seed=3), numbers(4, 3, seed=4)

        def number(a: Any, b: Any, top: Any) -> Tensor:
            return ((a() - t).square().sum() + a() @ b() + top().square().sum()).detach()

        case = Case(
            "",
            "top",
            {"top": u, "a": B @ u, "b": D @ u},
            {
                "top": number,
                "a": lambda a, top: 0.5 * (a() - B @ top()).square().sum(),
                "b": lambda b, top: 0.5 * (b() - D @ top()).square().sum(),
            },
            ("u2l: top -> a", "u2l: top -> b", "l2u: a -> top", "l2u: b -> top"),
            NOTHING,
        )
        decay = 1 - (1 - RATE) ** STEPS
        through_a = decay * B.T @ (2 * (B @ u - t) + D @ u)
        through_b = decay * D.T @ (B @ u)
        first, last = spread(3, 5, "top", "a"), spread(3, 5, "top", "b")
        estimated = found(case, {"a": es("objective"), "b": es("objective")})
        options = [
            first @ through_a + last @ (through_b + 2 * u),
            first @ (through_a + 2 * u) + last @ through_b,
        ]
        assert min(relative_error(estimated, expected) for expected in options) < 1e-9

    def test_a_count_can_be_descended(self):
        """How many coordinates are above ½ where F counts them, and u moves them all down."""
        u = torch.zeros(3).double() + 0.3

        def inner_loss(inner: Any, outer: Any) -> Tensor:
            return 0.5 * (inner() - outer().mean() - torch.linspace(0, 0.5, 40)).square().sum()

        case = Case(
            "",
            "outer",
            {"outer": u, "inner": torch.full((40,), 0.5).double()},
            {"outer": lambda inner: (inner() > 0.5).sum(), "inner": inner_loss},
            ("u2l: outer -> inner", "l2u: inner -> outer"),
            NOTHING,
        )
        estimated = found(case, {"inner": es("objective", samples=20, sigma=0.3)})
        assert torch.cosine_similarity(estimated, torch.ones(3).double(), dim=0) > 0.7

    def test_a_plateau_is_a_zero_and_no_error(self):
        case = changed(quadratic(), outer=lambda inner, outer: (inner() > 1e3).sum())
        program = looped(case, {"inner": es("objective")})
        assert torch.equal(after_loops(program, "outer"), torch.zeros(3).double())


class TestBetweenOtherProblems:
    """What other problems send comes in beside the loss above."""

    def test_an_estimated_adjoint_is_handed_on(self):
        case = chain()
        methods = {"leaf": es("jacobian"), "middle": es("objective")}
        estimated = found(case, methods)
        one, other = spread(4, 5, "top", "middle"), spread(3, 5, "top", "leaf", updates=STEPS**2)
        direct = case.closed_form(NOTHING)
        # chain(): B and E, and what the series stands for on either side.
        B, E = numbers(4, 3, seed=2), numbers(5, 4, seed=4)
        inverses: list[Tensor] = []

        def noted(H: Tensor, v: Tensor) -> Tensor:
            inverses.append(UNROLLED(H, torch.eye(len(v), dtype=v.dtype)))
            return UNROLLED(H, v)

        case.closed_form(noted)
        through_middle, through_leaf = inverses
        v = case.points["middle"] - numbers(5, seed=5)
        sent = one @ (E.T @ through_middle @ v)
        expected = direct + other @ (B.T @ through_leaf @ sent)
        assert relative_error(estimated, expected) < 1e-9

    def test_a_problem_that_the_loss_above_does_not_read_has_only_its_adjoint(self):
        case = chain()
        one = found(case, {"leaf": es("jacobian"), "middle": "unroll"})
        other = found(case, {"leaf": es("objective"), "middle": "unroll"})
        assert torch.equal(one, other)

    def test_both_count_where_there_are_both(self):
        """The leaf of a diamond is read by the top as well."""
        without = diamond()

        def top_loss(left: Any, right: Any, top: Any, leaf: Any) -> Tensor:
            return without.losses["top"](left, right, top) + 0.5 * leaf().square().sum()

        edges = (*without.edges, "l2u: leaf -> top")
        case = replace(changed(without, top=top_loss), edges=edges)
        whole = found(case, {"leaf": "unroll"})
        direct = case.points["top"]
        expected = direct + spread(3, 5, "top", "leaf") @ (whole - direct)
        for estimate in ("jacobian", "objective"):
            estimated = found(case, {"leaf": es(estimate)})
            assert relative_error(estimated, expected) < 1e-9


def test_torch_need_not_know_how_to_differentiate_the_optimiser():
    """Adafactor has no differentiable step; against differences of the whole loop."""
    points = {**quadratic().points, "inner": numbers(4, seed=9)}
    case = replace(changed(quadratic(), outer=lambda inner: inner().square().sum()), points=points)

    def ended(u: Tensor) -> Tensor:
        program = bound(adafactor(replace(case, points={**points, "outer": u})))
        executor = Executor(program)
        for instruction in program.plan.period[:-1]:
            executor.execute(instruction)
        return parameters(program, "inner").square().sum()

    h, u = 1e-4, points["outer"]
    ways = [(ended(u + h * e) - ended(u - h * e)) / (2 * h) for e in torch.eye(3).double()]
    expected = spread(3, 5, "outer", "inner") @ torch.stack(ways)
    assert relative_error(after_loops(bound(adafactor(case)), "outer"), expected) < 1e-4


def test_a_learned_rate_moves_the_solution_too():
    """Against the unrolled loop, of which a small movement is nearly linear."""

    def rate(rates: Any) -> Tensor:
        return 0.05 * rates().exp().mean()

    def graph(method: Any) -> Graph:
        problem = {"optimizer": {"_target_": "sgd", "lr": RATE}, "precision": "float64"}
        points = {**quadratic().points, "inner": numbers(4, seed=9)}
        return Graph(
            problems={
                "rates": {
                    "module": Point(points["outer"]),
                    "loss": lambda inner: (inner() - 1).square().sum(),
                    **problem,
                },
                "inner": {
                    "module": Point(points["inner"]),
                    "loss": lambda inner: (inner().square().square()).sum(),
                    "hyperparameters": {"lr": rate},
                    "unroll_steps": STEPS,
                    "hypergradient": method,
                    **problem,
                },
            },
            edges=[{"u2l": "rates -> inner"}, {"l2u": "inner -> rates"}],
            engine={"device": "cpu"},
        )

    expected = spread(3, 5, "rates", "inner") @ after_loops(bound(graph("unroll")), "rates")
    estimated = after_loops(bound(graph(es(sigma=1e-4))), "rates")
    assert relative_error(estimated, expected) < 1e-5


def adafactor(case: Case) -> Graph:
    """The case, its lower problem on an optimiser without differentiable steps."""
    problems = {
        "outer": {"optimizer": "sgd"},
        "inner": {
            "optimizer": {"_target_": "torch.optim.Adafactor", "lr": 0.05},
            "unroll_steps": STEPS,
            "hypergradient": es(sigma=1e-4),
        },
    }
    return Graph(
        problems={
            name: {
                **problem,
                "module": Point(case.points[name]),
                "loss": case.losses[name],
                "precision": "float64",
            }
            for name, problem in problems.items()
        },
        edges=[dict([edge.split(": ")]) for edge in case.edges],
        engine={"device": "cpu"},
    )


def drawn() -> tuple[Tensor, Any, Any]:
    """The states of all global generators."""
    return torch.get_rng_state(), np.random.get_state(), random.getstate()


def test_the_loss_above_is_evaluated_as_in_its_own_pass():
    """The same masks and no trace, whatever is drawn: where nothing moves it is the same number."""
    noise, seen = nn.Dropout(0.5), list[Tensor]()

    def outer_loss(inner: Any) -> Tensor:
        seen.append(noise(inner() + torch.ones(6, 4).double()).square().sum().detach())
        random.random()
        np.random.rand()
        return seen[-1]

    def still(inner: Any, outer: Any) -> Tensor:
        return (inner() - inner().detach()).square().sum() + 0 * inner().sum() * outer().sum()

    program = looped(
        changed(quadratic(), outer=outer_loss, inner=still), {"inner": es("objective")}
    )
    executor = Executor(program)
    *loop, judged = program.plan.period
    for instruction in loop:
        executor.execute(instruction)
    before = drawn()
    outer_loss(program.problems["inner"].model.module)
    once = drawn()
    torch.set_rng_state(before[0])
    np.random.set_state(before[1])
    random.setstate(before[2])
    seen.clear()
    executor.execute(judged)
    assert len(seen) == 11
    assert all(torch.equal(value, seen[0]) for value in seen)
    for found_state, expected in zip(map(str, drawn()), map(str, once), strict=True):
        assert found_state == expected


def test_a_run_learns_from_a_number():
    """The inner problem is to stop at a point that only a distance without a gradient knows."""
    t = numbers(3, seed=1)
    problem = {"precision": "float64"}
    graph = Graph(
        problems={
            "outer": {
                "module": Point(torch.zeros(3).double()),
                "loss": lambda inner: (inner() - t).abs().sum().detach(),
                "optimizer": {"_target_": "adam", "lr": 0.05},
                **problem,
            },
            "inner": {
                "module": Point(torch.zeros(3).double()),
                "loss": lambda inner, outer: (inner() - outer()).square().sum(),
                "optimizer": {"_target_": "sgd", "lr": 0.4},
                "unroll_steps": 3,
                "hypergradient": es("objective", samples=8, sigma=0.1),
                **problem,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu", "steps": 120},
    )
    result = graph.run(quiet=True)
    losses = [one.values["outer.loss"] for one in result.records if one.kind == "train"]
    assert losses[-1] < 0.15 * losses[0]
