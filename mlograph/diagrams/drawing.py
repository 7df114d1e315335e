"""What a diagram shows, decided once for all formats."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import networkx as nx

from mlograph.explain import explain
from mlograph.graph import ProblemGraph, env_batches
from mlograph.plan import Plan
from mlograph.wording import (
    approximations,
    clipped,
    is_answering,
    is_approximate,
    method_text,
    role,
    short_name,
)

NodeKind = Literal["top", "middle", "leaf", "env"]
EdgeKind = Literal["u2l", "l2u", "data"]

ENV = "env"

_MOST_NOTES = 6


@dataclass(frozen=True)
class Node:
    """A problem, or the Env.

    Attributes:
        name: unique; problem names are never `env`.
        kind: where it stands; a problem on its own counts as a top.
        level: the row it belongs to, 0 uppermost; every edge spans at least one level.
        title: its first line.
        badge: what it is, in a word.
        lines: everything else, a line each.
    """

    name: str
    kind: NodeKind
    level: int
    title: str
    badge: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """Something flows from `source` to `target`: parameters (u2l), solutions (l2u) or batches.

    Attributes:
        source: name of the node it leaves.
        target: name of the node it enters.
        kind: which of the three.
        label: what is written on it; may be empty.
        upper: whichever end stands higher.
        lower: the other end.
    """

    source: str
    target: str
    kind: EdgeKind
    label: str
    upper: str
    lower: str


@dataclass(frozen=True)
class Key:
    """One entry of the legend: what a kind of edge means."""

    kind: EdgeKind
    text: str


@dataclass(frozen=True)
class Drawing:
    """All that a renderer needs; it looks nowhere else.

    Attributes:
        title: name of the graph.
        description: one line; may be empty.
        nodes: problems in the order of the file, then the Env.
        edges: in the order of the file, then those from the Env.
        legend: only of the kinds of edges that occur.
        notes: approximations, in words.
        explanation: the plan as text.
    """

    title: str
    description: str
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    legend: tuple[Key, ...]
    notes: tuple[str, ...]
    explanation: str


_MEANINGS: dict[EdgeKind, str] = {
    "u2l": "u2l: the upper problem's parameters stand in the lower one's loss",
    "l2u": "l2u: the lower problem's solution stands in the upper one's loss (and how its "
    "hypergradient returns)",
    "data": "batches of the Env",
}


def draw(graph: ProblemGraph, plan: Plan) -> Drawing:
    """The drawing of a graph and its plan."""
    levels = _levels(graph)
    nodes = [_problem(graph, plan, name, levels[name]) for name in graph.problems]
    nodes += _env(graph, 1 + max(levels.values()))
    edges = (*_problem_edges(graph, plan, levels), *_data_edges(graph))
    kinds = {edge.kind for edge in edges}
    return Drawing(
        title=clipped(graph.spec.name, 80),
        description=clipped(graph.spec.description, 160),
        nodes=tuple(nodes),
        edges=edges,
        legend=tuple(Key(kind, text) for kind, text in _MEANINGS.items() if kind in kinds),
        notes=_notes(graph, plan),
        explanation=explain(graph, plan),
    )


def _notes(graph: ProblemGraph, plan: Plan) -> tuple[str, ...]:
    texts = [f"≈ {clipped(text, 120)}" for text in approximations(graph, plan)]
    if len(texts) > _MOST_NOTES:
        texts[_MOST_NOTES:] = [f"≈ and {len(texts) - _MOST_NOTES} more, which the plan lists"]
    return tuple(texts)


def _levels(graph: ProblemGraph) -> dict[str, int]:
    """Rows by longest path: l2u edges rise, and u2l edges fall wherever they still can."""
    falling = graph.hierarchy.reverse()
    for upper, lower in graph.constraints.edges:
        # Below `upper` it stands lower already.
        if lower not in graph.below[upper] and not nx.has_path(falling, lower, upper):
            falling.add_edge(upper, lower)
    levels: dict[str, int] = {}
    for name in nx.topological_sort(falling):
        levels[name] = 1 + max((levels[above] for above in falling.predecessors(name)), default=-1)
    return levels


def _problem(graph: ProblemGraph, plan: Plan, name: str, level: int) -> Node:
    place = role(graph, name)
    kinds: dict[str, NodeKind] = {"middle": "middle", "leaf": "leaf"}
    return Node(
        name=name,
        kind=kinds.get(place, "top"),
        level=level,
        title=clipped(name),
        badge=place,
        lines=tuple(_facts(graph, plan, name)),
    )


def _facts(graph: ProblemGraph, plan: Plan, name: str) -> Iterator[str]:
    spec, rate = graph.problems[name], plan.rates[name]
    yield f"{short_name(spec.module)} · {short_name(spec.optimizer)}"
    updates = f"{rate.updates:,} {'update' if rate.updates == 1 else 'updates'}"
    passes = "" if rate.passes == rate.updates else f", {rate.passes:,} passes"
    yield f"{updates}{passes} a period"
    factors = []
    if graph.uppers(name):
        factors.append(f"unroll × {spec.unroll_steps}")
    if spec.gradient_accumulation > 1:
        factors.append(f"accumulate × {spec.gradient_accumulation}")
    if factors:
        yield ", ".join(factors)
    if spec.warmup_steps:
        yield f"warm-up {spec.warmup_steps:,}"
    if spec.start_from is not None:
        yield f"loops start from {clipped(spec.start_from)}"
    # One l2u edge bears the method itself; none or several leave it to the node.
    if len(graph.uppers(name)) != 1 and is_answering(plan, name):
        yield f"answers by {_answer(graph, plan, name)}"


def _answer(graph: ProblemGraph, plan: Plan, name: str) -> str:
    mark = "≈ " if is_approximate(graph, plan, name) else ""
    return f"{mark}{method_text(graph.problems[name].hypergradient)}"


def _problem_edges(graph: ProblemGraph, plan: Plan, levels: dict[str, int]) -> Iterator[Edge]:
    for edge in graph.spec.edges:
        lower, upper = sorted((edge.source, edge.target), key=levels.__getitem__, reverse=True)
        label = ""
        if edge.kind == "l2u" and not is_answering(plan, edge.source):
            label = "direct only"
        elif edge.kind == "l2u" and len(graph.uppers(edge.source)) == 1:
            label = _answer(graph, plan, edge.source)
        yield Edge(edge.source, edge.target, edge.kind, label, upper, lower)


def _env(graph: ProblemGraph, level: int) -> Iterator[Node]:
    env = graph.spec.env
    if env is not None:
        moves = "a new batch each loop" if env.step_every == "loop" else "a new batch each pass"
        yield Node(ENV, "env", level, short_name(env.source), "env", (moves,))


def _data_edges(graph: ProblemGraph) -> Iterator[Edge]:
    for name, spec in graph.problems.items():
        batches = ", ".join(dict.fromkeys(env_batches(spec.data)))
        if batches:
            yield Edge(ENV, name, "data", clipped(batches), name, ENV)
