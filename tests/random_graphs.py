"""Random graphs of problems, for properties that hold of all."""

from __future__ import annotations

from typing import Any

import networkx as nx
from hypothesis import assume
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


@st.composite
def multilevel(draw: st.DrawFn, largest: int = 5) -> tuple[list[str], list[str]]:
    """A hierarchy in which the top, and perhaps one more problem, constrain others below them.

    No two problems depend on one another: a sweep would leave one of both ways out, and say so.
    """
    problems, upwards = draw(hierarchies(largest))
    net = nx.DiGraph(upwards)
    edges = [f"l2u: {source} -> {target}" for source, target in upwards]
    middles = draw(st.lists(st.sampled_from(problems[1:]), max_size=1, unique=True))
    for upper in sorted({*middles, problems[-1]}):
        below = sorted(nx.ancestors(net, upper))
        fewest = 1 if upper == problems[-1] else 0
        if below:
            moved = draw(st.lists(st.sampled_from(below), min_size=fewest, max_size=2, unique=True))
            edges += [f"u2l: {upper} -> {lower}" for lower in moved]
    shuffled = draw(st.permutations(problems))
    found = sweeps(structure({n: {} for n in shuffled}, edges, engine={"of": problems[-1]}))
    assume(not any(sweep.approximations for sweep in found.values()))
    return [*shuffled], edges
