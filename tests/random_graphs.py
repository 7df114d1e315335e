"""Random graphs of problems, for properties that hold of all."""

from __future__ import annotations

from itertools import combinations
from random import Random
from typing import Any

import networkx as nx
from hypothesis import strategies as st

from mlograph.checks import examine
from mlograph.errors import GraphError
from mlograph.graph import ProblemGraph
from mlograph.language import parse
from mlograph.sweeps import sweeps


def structure(problems: dict[str, dict[str, Any]], edges: list[str], **more: Any) -> ProblemGraph:
    """A checked graph; a problem is given by what it does not share with all others."""
    graph = unchecked(problems, edges, **more)
    faults = examine(graph.spec)
    if faults:
        raise GraphError(faults)
    return graph


def unchecked(problems: dict[str, dict[str, Any]], edges: list[str], **more: Any) -> ProblemGraph:
    """A graph that may be wrong in what it means."""
    usual = {"module": "torch.nn.Identity", "loss": "losses.loss", "optimizer": "sgd"}
    return ProblemGraph(
        parse(
            {
                "mlograph": 1,
                "name": "graph",
                "problems": {name: usual | given for name, given in problems.items()},
                "edges": [dict([edge.split(": ")]) for edge in edges],
                "engine": {"of": next(iter(problems))} | more.pop("engine", {}),
                **more,
            }
        )
    )


def names(count: int) -> list[str]:
    return [f"p{index}" for index in range(count)]


@st.composite
def hierarchies(draw: st.DrawFn, largest: int = 6) -> tuple[list[str], list[tuple[str, str]]]:
    """Problems in an order that leads upwards, and l2u edges; only the last may lie on top."""
    problems = names(draw(st.integers(2, largest)))
    edges = []
    for index, lower in enumerate(problems[:-1]):
        above = problems[index + 1 :]
        uppers = draw(st.lists(st.sampled_from(above), min_size=1, max_size=3, unique=True))
        edges += [(lower, upper) for upper in uppers]
    return problems, edges


@st.composite
def unnested(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """A hierarchy whose top alone constrains others: at least one."""
    problems, upwards = draw(hierarchies())
    *lower, top = problems
    moved = draw(st.lists(st.sampled_from(lower), min_size=1, unique=True))
    edges = [f"l2u: {source} -> {target}" for source, target in upwards]
    edges += [f"u2l: {top} -> {name}" for name in moved]
    shuffled = draw(st.permutations(problems))
    return [*shuffled], edges


def multilevel(seed: int) -> tuple[list[str], list[str]]:
    """Up to 6 problems; the top, and perhaps two more, constrain others below them.

    Where two leaders share a follower, one is below the other: else they take each other as given,
    or a sweep leaves out one of both ways and says so.
    """
    drawn = Random(seed)
    while True:
        problems = names(drawn.randint(2, 6))
        upwards = []
        for index, lower in enumerate(problems[:-1], start=1):
            above = problems[index:]
            uppers = drawn.sample(above, drawn.randint(1, min(3, len(above))))
            upwards += [(lower, upper) for upper in uppers]
        net = nx.DiGraph(upwards)
        edges = [f"l2u: {source} -> {target}" for source, target in upwards]
        leaders = {*drawn.sample(problems[1:], drawn.randint(0, min(2, len(problems) - 1)))}
        for leader in sorted(leaders | {problems[-1]}):
            below = sorted(nx.ancestors(net, leader))
            moved = drawn.sample(below, drawn.randint(1, min(2, len(below)))) if below else []
            edges += [f"u2l: {leader} -> {lower}" for lower in moved]
        drawn.shuffle(problems)
        graph = structure({n: {} for n in problems}, edges, engine={"of": max(problems)})
        announced = any(sweep.approximations for sweep in sweeps(graph).values())
        if not announced and not any(
            rivals(graph, one, two) for one, two in combinations(problems, 2)
        ):
            return problems, edges


def rivals(graph: ProblemGraph, one: str, other: str) -> bool:
    """Whether both lead a problem below both, side by side."""
    below, beside = graph.below[one], graph.below[other]
    leading = bool(graph.lowers(one) and graph.lowers(other))
    return (
        leading
        and one not in beside
        and other not in below
        and one != other
        and bool(below & beside)
    )
