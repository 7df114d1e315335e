"""One reverse sweep: every problem once, all paths counted, nothing silently zero."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
import torch
from cases import (
    CASES,
    RATE,
    Case,
    Point,
    at_rest,
    bound,
    diamond,
    hidden_path,
    inverse,
    numbers,
    parameters,
    quadratic,
    relative_error,
)
from hypothesis import given
from hypothesis import strategies as st
from oracle import Oracle
from random_graphs import multilevel, names, structure, unnested
from torch import Tensor

from mlograph import Graph
from mlograph.errors import NumericError
from mlograph.executor import Executor
from mlograph.hypergradients.sweep import hypergradient
from mlograph.plan import Step, Sweep, Visit
from mlograph.sweeps import sweeps
from mlograph.trees import Vector


def along_paths(sends: Mapping[str, tuple[str, ...]], upper: str, matrices: Any, v: Any) -> Tensor:
    """Σ over all paths from a problem to `upper` of the product of its matrices."""

    def from_here(name: str, adjoint: Tensor) -> Tensor:
        if name == upper:
            return adjoint
        onwards = [from_here(to, matrices[name, to] @ adjoint) for to in sends.get(name, ())]
        return torch.stack([torch.zeros_like(adjoint), *onwards]).sum(0)

    return torch.stack([from_here(name, adjoint) for name, adjoint in v.items()]).sum(0)


def ladder(diamonds: int) -> list[str]:
    """j0 → {a0, b0} → j1 → {a1, b1} → … → top, and the top moves j0."""
    edges = ["u2l: top -> j0", f"l2u: j{diamonds} -> top"]
    for rung in range(diamonds):
        for side in "ab":
            edges += [f"l2u: j{rung} -> {side}{rung}", f"l2u: {side}{rung} -> j{rung + 1}"]
    return edges


def swept(found: Sweep, matrices: Any, direct: Mapping[str, Tensor]) -> tuple[Tensor, list[str]]:
    """The sweep with given matrices for responses, and whom it visited."""
    visited = []

    def pull(visit: Visit, adjoint: Vector) -> dict[str, Vector]:
        visited.append(visit.problem)
        return {to: {"x": matrices[visit.problem, to] @ adjoint["x"]} for to in visit.sends_to}

    total = hypergradient(found, {name: {"x": v} for name, v in direct.items()}, pull)
    return total["x"], visited


def test_a_ladder_of_8_diamonds_takes_25_visits_for_its_256_paths():
    edges = ladder(8)
    problems = sorted({name for edge in edges for name in edge[5:].split(" -> ")})
    plan = sweeps(structure({"top": {}, **{n: {} for n in problems if n != "top"}}, edges))["top"]
    one = torch.ones(1, 1, dtype=torch.float64)
    sends = {visit.problem: visit.sends_to for visit in plan.visits}
    matrices = {(name, to): one for name, targets in sends.items() for to in targets}
    total, visited = swept(plan, matrices, {"j8": one[0]})
    assert len(visited) == len(set(visited)) == 25
    assert total.item() == 256


@given(unnested(), st.integers(0, 10**6))
def test_it_is_the_sum_over_all_paths(shape: tuple[list[str], list[str]], seed: int):
    problems, edges = shape
    top = edges[-1][5:].split(" -> ")[0]
    graph = structure({name: {} for name in problems}, edges, engine={"of": top})
    plan = sweeps(graph)[top]
    # Who reads whom, and can be reached from the loss of the top.
    sends = {name: tuple(graph.reads[name]) for name in problems if name != top}
    pairs = [(name, to) for name, targets in sends.items() for to in targets]
    matrices = {pair: numbers(2, 2, seed=seed + i) for i, pair in enumerate(pairs)}
    visited = {visit.problem for visit in plan.visits}
    direct = {name: numbers(2, seed=seed - i - 1) for i, name in enumerate(graph.lowers(top))}
    direct = {name: v for name, v in direct.items() if name in visited}
    total, _ = swept(plan, matrices, {top: numbers(2, seed=seed), **direct})
    expected = numbers(2, seed=seed) + along_paths(sends, top, matrices, direct)
    assert torch.allclose(total, expected, rtol=1e-10, atol=1e-12)


# Paths that leave the problems below k on their way back to it, and whom they visit.
HIDDEN: dict[str, tuple[str, list[str]]] = {
    "one hidden": ("jm", ["u2l: k -> m", "u2l: m -> j", "l2u: j -> m", "l2u: j -> k"]),
    "two in a row": ("jmn", ["u2l: k -> n", "u2l: n -> m", "u2l: m -> j", "l2u: j -> k"]),
    "hidden below hidden": ("jmn", ["u2l: k -> n", "l2u: n -> m", "u2l: m -> j", "l2u: j -> k"]),
    "hidden below hidden in a circle": (
        "jmn",
        [
            "u2l: k -> n",
            "l2u: n -> m",
            "u2l: m -> j",
            "l2u: j -> m",
            "l2u: j -> n",
            "l2u: j -> k",
        ],
    ),
    "hidden between two below": (
        "jmi",
        ["u2l: k -> i", "l2u: i -> m", "u2l: m -> j", "l2u: i -> k", "l2u: j -> k"],
    ),
}


@pytest.mark.parametrize("backwards", [False, True])
@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_paths_are_found_wherever_they_lead(name: str, backwards: bool):
    path, edges = HIDDEN[name]
    problems = sorted(
        {name for edge in edges for name in edge[5:].split(" -> ")}, reverse=backwards
    )
    graph = structure({n: {} for n in problems}, edges, engine={"of": "k"})
    plan = sweeps(graph)["k"]
    sends = {visit.problem: visit.sends_to for visit in plan.visits}
    order = [visit.problem for visit in plan.visits]
    assert order == list(path)
    for source, target in pairwise([*path, "k"]):
        assert target in sends[source]


def test_a_hidden_problem_that_has_not_stepped_yet_is_taken_as_it_stands():
    # k and m both lie on top, and k's turn comes first.
    program = bound(hidden_path(partial=False).graph())
    assert program.plan.period.index(Step("k")) < program.plan.period.index(Step("m"))
    executor = Executor(program)
    for instruction in program.plan.period:
        executor.execute(instruction)
    moved = (hidden_path(partial=False).points["k"] - parameters(program, "k")) / RATE
    assert relative_error(moved, hidden_path(partial=False).closed_form(inverse)) < 1e-10


def test_a_problem_that_answers_to_nobody_is_not_visited():
    edges = ["u2l: top -> a", "l2u: a -> top", "l2u: b -> top"]
    plan = sweeps(structure({"top": {}, "a": {}, "b": {}}, edges))["top"]
    assert plan.visits == (Visit("a", ("top",)),)


MOVED = {"nested, partial": ("middle", "leaf"), "hidden path, partial": ("m", "j")}
PARTIAL = [case for case in CASES if case.partial]


@pytest.mark.parametrize("case", PARTIAL, ids=lambda case: case.name)
def test_partial_curvature_is_announced(case: Case):
    lower, moved = MOVED[case.name]
    assert case.graph().plan().sweeps[case.upper].approximations == (
        f"partial curvature of '{lower}': how {moved} answers to '{lower}' is left out of its "
        "Hessian",
    )


def test_partial_curvature_is_announced_for_hidden_paths_of_a_lower_problem():
    # As seen from k alone nothing is left out, but k's own condition is on its total gradient.
    edges = [*HIDDEN["two in a row"][1], "l2u: k -> top", "u2l: top -> k"]
    names = ("top", "k", "n", "m", "j")
    graph = structure({n: {"hypergradient": "darts"} for n in names}, edges, engine={"of": "top"})
    found = sweeps(graph)["top"]
    assert [visit.problem for visit in found.visits] == ["k"]
    assert found.approximations == (
        "partial curvature of 'k': how n answers to 'k' is left out of its Hessian",
    )


@pytest.mark.parametrize("case", [c for c in CASES if not c.partial], ids=lambda case: case.name)
def test_nothing_is_announced_where_nothing_is_left_out(case: Case):
    assert case.graph().plan().sweeps[case.upper].approximations == ()


def silent(case: Case, **losses: Callable[..., Tensor]) -> str:
    """What is said when one loss does not touch what its edges declare."""
    changed = replace(case, losses={**case.losses, **losses})
    with pytest.raises(NumericError) as caught:
        at_rest(bound(changed.graph()), case.upper)
    return str(caught.value)


def test_a_lower_loss_that_never_touches_the_upper_problem_is_an_error():
    message = silent(quadratic(), inner=lambda inner, outer: inner().square().sum())
    assert message == (
        "no derivative comes back from 'inner' to 'outer': the gradient of 'inner' does not "
        "depend on 'outer' where others look at it, so the edge 'outer -> inner' has no effect"
    )


def test_an_upper_term_apart_from_the_lower_parameters_is_no_effect_either():
    def apart(inner: Any, outer: Any) -> Tensor:
        return inner().square().sum() + outer().square().sum()

    assert "the edge 'outer -> inner' has no effect" in silent(quadratic(), inner=apart)


def test_an_upper_loss_that_never_touches_the_lower_solution_is_an_error():
    message = silent(quadratic(), outer=lambda inner, outer: outer().square().sum())
    assert message == (
        "no gradient of the loss of 'outer' reaches the parameters of 'inner', so the edge 'l2u: "
        "inner -> outer' has no effect (for a loss without a gradient, such as a return or a "
        "count, give 'inner' 'hypergradient: {method: es, estimate: objective}')"
    )


def test_a_dead_edge_beside_a_live_one_is_an_error():
    # The leaf's adjoint comes through both sides, so a dead edge leaves no gap at the leaf.
    message = silent(diamond(), right=lambda right, leaf: right().square().sum())
    assert "the edge 'leaf -> right' has no effect" in message
    message = silent(diamond(), top=lambda left, right, top: left().sum() + 0 * top().sum())
    assert "the edge 'l2u: right -> top' has no effect" in message


def test_a_dead_edge_is_an_error_though_its_problem_hears_from_others():
    case = diamond()
    edges = (*case.edges, "l2u: leaf -> top")

    def top_loss(left: Any, right: Any, top: Any, leaf: Any) -> Tensor:
        return left().sum() + right().sum() + top().sum()

    message = silent(replace(case, edges=edges), top=top_loss)
    assert "the edge 'l2u: leaf -> top' has no effect" in message


def declared(oracle: Oracle, problems: list[str], edges: list[str], top: str) -> Graph:
    """The graph of an oracle, every problem at its point."""

    def loss_of(name: str) -> Callable[..., Tensor]:
        def loss(**views: Any) -> Tensor:
            others = {key: view() for key, view in views.items() if key != "itself"}
            return oracle.loss(name, views["itself"](), others, oracle.tilts)

        return loss

    return Graph(
        problems={
            name: {
                "module": Point(oracle.points[name]),
                "loss": {
                    "_target_": loss_of(name),
                    "itself": name,
                    **{k: k for k in oracle.reads[name]},
                },
                "optimizer": "sgd",
                "precision": "float64",
                "hypergradient": "exact",
            }
            for name in problems
        },
        edges=[dict([edge.split(": ")]) for edge in edges],
        engine={"of": top, "device": "cpu"},
    )


def agrees(shape: tuple[list[str], list[str]], seed: int) -> None:
    """The sweep of the top equals nested differentiable solves."""
    problems, edges = shape
    top = max(problems)
    graph = structure({name: {} for name in problems}, edges, engine={"of": top})
    oracle = Oracle({name: tuple(sorted(graph.reads[name])) for name in sorted(problems)}, seed)
    found = at_rest(bound(declared(oracle, problems, edges, top)), top)
    assert relative_error(found, oracle.hypergradient(top)) < 1e-8, edges


@pytest.mark.parametrize(
    "block", [0, *(pytest.param(block, marks=pytest.mark.slow) for block in range(1, 20))]
)
def test_it_agrees_with_nested_differentiable_solves_on_500_random_graphs(block: int):
    for seed in range(25 * block, 25 * block + 25):
        agrees(multilevel(seed), seed)


@pytest.mark.parametrize("levels", [3, 4])
def test_it_agrees_where_every_level_constrains_the_one_below(levels: int):
    problems = names(levels)
    edges = [f"l2u: {a} -> {b}" for a, b in pairwise(problems)]
    edges += [f"u2l: {b} -> {a}" for a, b in pairwise(problems)]
    agrees((problems, edges), seed=3)
