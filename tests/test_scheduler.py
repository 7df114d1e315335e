"""Rates by balance equations, and the order in which everything happens."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from itertools import pairwise
from math import gcd
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from random_graphs import hierarchies, names, structure, unchecked

from mlograph import sweeps
from mlograph.errors import GraphError
from mlograph.graph import ProblemGraph
from mlograph.plan import Backward, EnvStep, Instruction, Rate, Start, Step, Update, text
from mlograph.scheduler import balance, schedule

PAIR = ["u2l: outer -> inner", "l2u: inner -> outer"]
CHAIN = ["l2u: leaf -> middle", "l2u: middle -> top", "u2l: top -> leaf"]
DIAMOND = [
    "l2u: base -> left",
    "l2u: base -> right",
    "l2u: left -> top",
    "l2u: right -> top",
    "u2l: top -> base",
]
ENV = {"env": {"_target_": "envs.make"}}


def period(problems: dict[str, dict[str, Any]], edges: list[str], **more: Any) -> str:
    return text(schedule(structure(problems, edges, **more)).period)


def prologue(problems: dict[str, dict[str, Any]], edges: list[str], **more: Any) -> str:
    return text(schedule(structure(problems, edges, **more)).prologue)


class TestOrder:
    def test_a_single_problem(self):
        assert period({"only": {}}, []) == "Step(only)"
        assert period({"only": {"gradient_accumulation": 4}}, []) == (
            "4 × Backward(only), Update(only)"
        )

    def test_bilevel(self):
        problems = {"outer": {}, "inner": {"unroll_steps": 5}}
        assert period(problems, PAIR) == "Start(inner), 5 × Step(inner), Step(outer)"

    def test_meta_learning(self):
        problems = {
            "outer": {"data": "env.query", "gradient_accumulation": 16},
            "inner": {"data": "env.support", "start_from": "outer", "unroll_steps": 5},
        }
        assert period(problems, PAIR, **ENV) == (
            "16 × [EnvStep, Start(inner), 5 × Step(inner), Backward(outer)], Update(outer)"
        )

    def test_accumulation_on_both_levels(self):
        problems = {
            "outer": {"gradient_accumulation": 3},
            "inner": {"gradient_accumulation": 2, "unroll_steps": 2},
        }
        assert period(problems, PAIR) == (
            "3 × [Start(inner), 2 × [2 × Backward(inner), Update(inner)], Backward(outer)], "
            "Update(outer)"
        )

    def test_trilevel(self):
        problems = {"top": {}, "middle": {"unroll_steps": 2}, "leaf": {"unroll_steps": 3}}
        assert period(problems, CHAIN) == (
            "Start(middle), 2 × [Start(leaf), 3 × Step(leaf), Step(middle)], Step(top)"
        )

    def test_a_shared_leaf_waits_until_both_uppers_have_used_it(self):
        two = {"unroll_steps": 2}
        problems = {"top": {}, "left": two, "right": two, "base": {"unroll_steps": 3}}
        assert period(problems, DIAMOND) == (
            "Start(left), Start(base), 3 × Step(base), Step(left), Start(right), Step(right), "
            "Start(base), 3 × Step(base), Step(left), Step(right), Step(top)"
        )

    def test_two_tops_over_one_leaf(self):
        problems: dict[str, dict[str, Any]] = {"a": {}, "b": {}, "leaf": {"unroll_steps": 2}}
        edges = ["l2u: leaf -> a", "l2u: leaf -> b", "u2l: a -> leaf"]
        assert period(problems, edges) == "Start(leaf), 2 × Step(leaf), Step(a), Step(b)"

    def test_unequal_loops_under_one_upper(self):
        problems = {
            "top": {"unequal_unroll": True},
            "a": {"unroll_steps": 2},
            "b": {"unroll_steps": 3},
        }
        assert period(problems, ["l2u: a -> top", "l2u: b -> top"]) == (
            "Start(a), 2 × Step(a), Start(b), 3 × Step(b), Step(top)"
        )

    def test_problems_apart_from_each_other_all_run(self):
        assert period({"a": {}, "b": {"gradient_accumulation": 2}}, []) == (
            "Step(a), 2 × Backward(b), Update(b)"
        )


class TestEnv:
    def test_it_steps_once_for_both_levels(self):
        problems = {"outer": {"data": "env.query"}, "inner": {"data": "env.support"}}
        assert period(problems, PAIR, **ENV) == "EnvStep, Start(inner), Step(inner), Step(outer)"

    def test_all_that_judge_a_loop_see_the_batches_that_it_saw(self):
        problems: dict[str, dict[str, Any]] = {
            "outer": {"data": "env.query", "gradient_accumulation": 2},
            "rates": {"data": "env.query", "gradient_accumulation": 2},
            "inner": {"data": "env.support"},
        }
        edges = ["l2u: inner -> outer", "l2u: inner -> rates"]
        loop = "EnvStep, Start(inner), Step(inner), Backward(outer)"
        assert period(problems, edges, **ENV) == (
            f"{loop}, Backward(rates), {loop}, Update(outer), Backward(rates), Update(rates)"
        )

    def test_those_who_judge_through_others_see_them_too(self):
        problems: dict[str, dict[str, Any]] = {
            "top": {"data": "env.query"},
            "middle": {},
            "other": {"data": "env.query", "gradient_accumulation": 2},
            "leaf": {"data": "env.support"},
        }
        edges = ["l2u: middle -> top", "l2u: leaf -> middle", "l2u: leaf -> other"]
        seen, task = list[int](), 0
        for one in period(problems, edges, **ENV).split(", "):
            task += one == "EnvStep"
            if "(top)" in one or "(leaf)" in one or "Backward(other)" in one:
                seen.append(task)
        assert sorted(seen) == seen
        assert seen.count(1) == seen.count(2)

    def test_a_loop_alone_steps_it(self):
        problems: dict[str, dict[str, Any]] = {
            "outer": {},
            "inner": {"data": "env.support", "unroll_steps": 3},
        }
        assert period(problems, PAIR, **ENV) == (
            "EnvStep, Start(inner), 3 × Step(inner), Step(outer)"
        )

    def test_step_every_step_moves_on_before_each_pass_of_a_loop(self):
        problems = {
            "outer": {"data": "env.query"},
            "inner": {"data": "env.support", "unroll_steps": 3},
        }
        env = {"_target_": "envs.make", "step_every": "step"}
        assert period(problems, PAIR, env=env) == (
            "EnvStep, Start(inner), 2 × [Step(inner), EnvStep], Step(inner), Step(outer)"
        )

    def test_a_mapping_of_batches_reads_it_too(self):
        problems = {"only": {"data": {"one": "env.one", "more": "loaders.more"}}}
        assert period(problems, [], **ENV) == "EnvStep, Step(only)"

    def test_nobody_reads_it(self):
        assert period({"only": {}}, [], **ENV) == "Step(only)"

    def test_accumulated_passes_see_a_batch_each(self):
        problems = {"only": {"data": "env.x", "gradient_accumulation": 3}}
        assert period(problems, [], **ENV) == "3 × [EnvStep, Backward(only)], Update(only)"


class TestWarmUp:
    def test_own_updates_come_before_anything_above(self):
        inner = {"warmup_steps": 3, "gradient_accumulation": 2, "unroll_steps": 2}
        problems: dict[str, dict[str, Any]] = {"outer": {}, "inner": inner}
        assert prologue(problems, PAIR) == "3 × [2 × Backward(inner), Update(inner)]"
        assert period(problems, PAIR) == (
            "Start(inner), 2 × [2 × Backward(inner), Update(inner)], Step(outer)"
        )

    def test_a_middle_takes_its_loops_along(self):
        problems: dict[str, dict[str, Any]] = {
            "top": {},
            "middle": {"warmup_steps": 2, "unroll_steps": 4},
            "leaf": {"warmup_steps": 5, "unroll_steps": 3},
        }
        assert prologue(problems, CHAIN) == (
            "5 × Step(leaf), 2 × [Start(leaf), 3 × Step(leaf), Step(middle)]"
        )

    def test_it_steps_the_env(self):
        problems: dict[str, dict[str, Any]] = {
            "outer": {},
            "inner": {"data": "env.x", "warmup_steps": 2},
        }
        assert prologue(problems, PAIR, **ENV) == "2 × [EnvStep, Step(inner)]"

    def test_there_is_none_by_default(self):
        assert schedule(structure({"outer": {}, "inner": {}}, PAIR)).prologue == ()


class TestRates:
    def test_they_are_counted_in_passes_and_updates(self):
        problems = {
            "outer": {"gradient_accumulation": 4},
            "inner": {"unroll_steps": 5, "gradient_accumulation": 2},
        }
        plan = schedule(structure(problems, PAIR))
        assert plan.rates == {"outer": Rate(4, 1), "inner": Rate(40, 20)}
        assert list(plan.rates) == ["inner", "outer"]

    def test_whole_updates_may_need_several_passes_of_the_top(self):
        # Two passes of the middle an update, one update for each pass of the top.
        problems: dict[str, dict[str, Any]] = {
            "top": {"gradient_accumulation": 3},
            "middle": {"gradient_accumulation": 2},
            "leaf": {},
        }
        assert balance(structure(problems, CHAIN)) == {"leaf": 6, "middle": 6, "top": 3}

    def test_steps_and_the_counted_problem_come_from_the_engine(self):
        graph = structure({"outer": {}, "inner": {}}, PAIR, engine={"of": "inner", "steps": 7})
        plan = schedule(graph)
        assert (plan.counted, plan.steps, plan.periods) == ("inner", 7, 7)

    def test_a_diamond_whose_sides_disagree_is_refused(self):
        problems: dict[str, dict[str, Any]] = {
            "top": {"unequal_unroll": True},
            "left": {"unroll_steps": 2},
            "right": {"unroll_steps": 3},
            "base": {},
        }
        with pytest.raises(GraphError) as caught:
            schedule(unchecked(problems, DIAMOND))
        (fault,) = caught.value.faults
        assert fault.path == ("edges", 1, "l2u")
        assert fault.message == (
            "rates without a solution: 'l2u: base -> right' asks for 3 passes of 'base' where "
            "'l2u: base -> left' leads to 2"
        )
        assert fault.hint == (
            "left: unroll_steps 2, gradient_accumulation 1; right: unroll_steps 3, "
            "gradient_accumulation 1; base: unroll_steps 1, gradient_accumulation 1; "
            "make both sides ask for the same"
        )

    def test_a_period_that_is_too_long_is_refused(self):
        problems: dict[str, dict[str, Any]] = {
            "top": {},
            "middle": {"unroll_steps": 1000},
            "leaf": {"unroll_steps": 1000},
        }
        with pytest.raises(GraphError) as caught:
            schedule(unchecked(problems, CHAIN))
        assert [str(fault) for fault in caught.value.faults] == [
            "problems.leaf: one period would take 1,000,000 backward passes of 'leaf' "
            "(1,001,001 in all; at most 100,000) (unroll_steps and gradient_accumulation "
            "multiply along the l2u edges)"
        ]


@st.composite
def rated(draw: st.DrawFn) -> ProblemGraph:
    """A hierarchy with a loop length and an accumulation for every problem."""
    problems, upwards = draw(hierarchies())
    small = st.integers(1, 3)
    given_rates = {
        name: {
            "unroll_steps": draw(small),
            "gradient_accumulation": draw(small),
            "unequal_unroll": True,
        }
        for name in problems
    }
    edges = [f"l2u: {lower} -> {upper}" for lower, upper in upwards]
    return unchecked(given_rates, edges, engine={"of": problems[-1]})


def per_top_pass(graph: ProblemGraph) -> Mapping[str, set[Fraction]]:
    """Passes of each problem for one pass of the top, as each path to the top asks for them."""
    asked: dict[str, set[Fraction]] = {graph.tops[0]: {Fraction(1)}}
    for name in reversed(graph.order[:-1]):
        spec = graph.problems[name]
        factor = spec.unroll_steps * spec.gradient_accumulation
        asked[name] = {factor * q for upper in graph.uppers(name) for q in asked[upper]}
    return asked


@settings(max_examples=200)
@given(rated())
def test_rates_solve_the_balance_equations_with_the_smallest_whole_updates(graph: ProblemGraph):
    asked = per_top_pass(graph)
    if any(len(rates) > 1 for rates in asked.values()):
        with pytest.raises(GraphError, match="rates without a solution"):
            balance(graph)
        return
    passes = balance(graph)
    for lower, upper in graph.hierarchy.edges:
        spec = graph.problems[lower]
        assert passes[lower] == spec.unroll_steps * spec.gradient_accumulation * passes[upper]
    updates = [passes[n] // graph.problems[n].gradient_accumulation for n in passes]
    assert all(passes[n] % graph.problems[n].gradient_accumulation == 0 for n in passes)
    assert gcd(*updates) == 1


class Replay:
    """Plays instructions and checks that nobody acts too early or too late."""

    def __init__(self, graph: ProblemGraph) -> None:
        self.graph = graph
        self.since: Counter[tuple[str, str]] = Counter()
        self.passes: Counter[str] = Counter()
        self.pending: Counter[str] = Counter()

    def play(self, instructions: Iterable[Instruction]) -> None:
        for instruction in instructions:
            match instruction:
                case Start(problem=name):
                    assert all(self.since[name, u] == 0 for u in self.graph.uppers(name))
                    assert self.pending[name] == 0
                case Step(problem=name):
                    self._backward(name)
                    self._update(name)
                case Backward(problem=name):
                    self._backward(name)
                case Update(problem=name):
                    self._update(name)
                case EnvStep():
                    raise AssertionError("there is no Env")

    def _backward(self, name: str) -> None:
        for lower in self.graph.lowers(name):
            assert self.since[lower, name] == self.graph.problems[lower].unroll_steps
            self.since[lower, name] = 0
        self.passes[name] += 1
        self.pending[name] += 1

    def _update(self, name: str) -> None:
        assert self.pending[name] == self.graph.problems[name].gradient_accumulation
        self.pending[name] = 0
        for upper in self.graph.uppers(name):
            self.since[name, upper] += 1
            assert self.since[name, upper] <= self.graph.problems[name].unroll_steps


@settings(max_examples=200)
@given(rated())
def test_every_pass_comes_right_after_the_updates_it_needs(graph: ProblemGraph):
    if any(len(rates) > 1 for rates in per_top_pass(graph).values()):
        return
    plan = schedule(graph)
    replay = Replay(graph)
    for times in (1, 2):
        replay.play(plan.period)
        assert replay.passes == {name: times * rate.passes for name, rate in plan.rates.items()}
        assert not any(replay.since.values())
        assert not any(replay.pending.values())
    starts = Counter(one.problem for one in plan.period if isinstance(one, Start))
    for name in plan.rates:
        loops = plan.rates[name].updates // graph.problems[name].unroll_steps
        assert starts[name] == (loops if graph.uppers(name) else 0)


def seconds(graph: ProblemGraph) -> float:
    """The least of three: what else runs on the machine only adds."""
    return min(_seconds(graph) for _ in range(3))


def _seconds(graph: ProblemGraph) -> float:
    began = time.process_time()
    schedule(graph)
    return time.process_time() - began


def chain() -> ProblemGraph:
    """Each of 500 problems constrains the one below it."""
    line = names(500)
    edges = [f"l2u: {lower} -> {upper}" for upper, lower in pairwise(line)]
    edges += [f"u2l: {upper} -> {lower}" for upper, lower in pairwise(line)]
    return structure({name: {} for name in line}, edges)


def one_way_chain() -> ProblemGraph:
    """The top of 500 problems constrains the lowest."""
    line = names(500)
    edges = [f"l2u: {lower} -> {upper}" for upper, lower in pairwise(line)]
    return structure({name: {} for name in line}, [*edges, "u2l: p0 -> p499"])


def star() -> ProblemGraph:
    """One problem above 499."""
    wide = names(500)
    edges = [f"l2u: {lower} -> p0" for lower in wide[1:]]
    edges += [f"u2l: p0 -> {lower}" for lower in wide[1:]]
    return structure({name: {} for name in wide}, edges)


def fan() -> ProblemGraph:
    """499 problems above one: each is moved by all others."""
    wide = names(500)
    edges = [f"l2u: p0 -> {upper}" for upper in wide[1:]]
    edges += [f"u2l: {upper} -> p0" for upper in wide[1:]]
    return structure({name: {} for name in wide}, edges, engine={"of": "p1"})


def ladder() -> ProblemGraph:
    """166 diamonds, one above another; each problem constrains those right below it."""
    steps = [
        pair
        for n in range(166)
        for side in (f"l{n}", f"r{n}")
        for pair in ((side, f"n{n}"), (f"n{n + 1}", side))
    ]
    problems = dict.fromkeys(name for pair in reversed(steps) for name in pair)
    edges = [f"l2u: {lower} -> {upper}" for upper, lower in steps]
    edges += [f"u2l: {upper} -> {lower}" for upper, lower in steps]
    return structure({name: {} for name in problems}, edges)


LARGE = (chain, one_way_chain, star, fan, ladder)


@pytest.mark.parametrize("make", LARGE)
def test_a_graph_of_500_problems_is_scheduled_quickly(make: Callable[[], ProblemGraph]):
    assert seconds(make()) < 1.5


@pytest.mark.parametrize(
    ("make", "most"), [(chain, 2_500), (one_way_chain, 1_000), (star, 600), (ladder, 4_000)]
)
def test_its_sweeps_look_at_few_problems_for_each_of_500(
    make: Callable[[], ProblemGraph], most: int, monkeypatch: pytest.MonkeyPatch
):
    graph = make()
    within_any = schedule(graph).sweeps
    # With more to look at, conditions would be partial ones, or there would be no plan.
    monkeypatch.setattr(sweeps, "MOST_WORK", most)
    assert schedule(graph).sweeps == within_any
