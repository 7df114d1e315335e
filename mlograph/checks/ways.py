"""Where edges lead: in no circle, back to where a hypergradient is wanted, and to one top."""

from __future__ import annotations

from collections.abc import Iterator

import networkx as nx

from mlograph.checks.certainty import Certainty
from mlograph.errors import Fault, Path, quoted
from mlograph.graph import ProblemGraph, edge_path


def cycle_faults(known: Certainty) -> Iterator[Fault]:
    """Problems that lie below themselves."""
    written = ProblemGraph(known.spec)
    for names in known.circles:
        inside = [edge for edge in written.hierarchy.edges if names.issuperset(edge)]
        cycle = nx.find_cycle(nx.DiGraph(inside))
        trail = " -> ".join([*(edge[0] for edge in cycle), cycle[0][0]])
        yield Fault(
            edge_path(written, "l2u", *cycle[-1][:2]),
            f"the l2u edges close a cycle: {trail}",
            "a problem cannot lie below itself; was one of them meant as u2l?",
        )


def return_faults(known: Certainty) -> Iterator[Fault]:
    """u2l edges along which no hypergradient could come back."""
    graph = known.graph
    loose = known.loose("u2l") | known.loose("l2u")
    leading: dict[str, frozenset[str]] = {}
    for upper, lower in graph.constraints.edges:
        if lower in graph.below[upper]:
            continue
        if upper not in leading:
            leading[upper] = _leading(graph, upper)
        if lower not in leading[upper] and not _may_join(
            graph, lower, upper, leading[upper], loose
        ):
            hint = f"add 'l2u: {lower} -> {upper}', or a chain of l2u edges"
            if lower in graph.above[upper]:
                hint = f"'{lower}' lies above '{upper}': was 'u2l: {lower} -> {upper}' meant?"
            yield Fault(
                edge_path(graph, "u2l", upper, lower),
                f"no hypergradient could return from '{lower}' to '{upper}': "
                "the edge could never have an effect",
                hint,
            )


def _leading(graph: ProblemGraph, upper: str) -> frozenset[str]:
    """What `upper` reads, and what that reads, and so on.

    What lies above `upper` is held fixed while `upper` moves, so no answer comes through it.
    """
    found, queue, fixed = {upper}, [upper], graph.above[upper]
    for name in queue:
        new = graph.reads[name] - fixed - found
        found |= new
        queue += new
    return frozenset(found)


def _may_join(
    graph: ProblemGraph, lower: str, upper: str, leading: frozenset[str], loose: frozenset[str]
) -> bool:
    """Whether there would be a way back from `lower`, if a loose end led to or from anywhere."""
    if not loose or lower in graph.above[upper]:
        return False
    if not loose.isdisjoint(leading):
        return True
    whole = nx.compose(graph.hierarchy, graph.constraints)
    answering = whole.subgraph(set(whole) - graph.above[upper])
    return not loose.isdisjoint(nx.descendants(answering, lower) | {lower})


def start_faults(known: Certainty) -> Iterator[Fault]:
    """Inner loops that start where they cannot, or nowhere, or that would lose a warm-up."""
    for name, problem in known.graph.problems.items():
        start, path = problem.start_from, ("problems", name)
        if start is None:
            yield from _start_for_method(known, name)
            continue
        if start == name:
            yield Fault((*path, "start_from"), f"'{name}' cannot start from itself")
        elif start in known.graph.problems:
            yield from _edges_of_start(known, name, start, (*path, "start_from"))
        if problem.warmup_steps:
            yield Fault(
                (*path, "warmup_steps"),
                f"'{name}' starts every loop anew from '{start}', so its warm-up would be lost",
            )


def _start_for_method(known: Certainty, name: str) -> Iterator[Fault]:
    method, uppers = known.graph.problems[name].hypergradient, known.graph.uppers(name)
    if method.needs_start and uppers and known.sure("problems", name, "start_from"):
        yield Fault(
            ("problems", name, "hypergradient"),
            f"'{method.method}' is the way from where a loop starts, and the loops of "
            f"'{name}' start nowhere anew",
            f"write 'start_from: {uppers[0]}' under '{name}'",
        )


def _edges_of_start(known: Certainty, name: str, start: str, path: Path) -> Iterator[Fault]:
    graph = known.graph
    moved = graph.constraints.has_edge(start, name) or bool(known.loose("u2l") & {name, start})
    above = _may_lead(graph.hierarchy, name, start, known.loose("l2u"))
    down, up = f"'u2l: {start} -> {name}'", f"'l2u: {name} -> {start}'"
    if not moved:
        missing = down if above else f"{down} and {up}"
        yield Fault(
            path, f"'{name}' starts from '{start}' without an edge", f"add {missing} to edges"
        )
    elif not above:
        yield Fault(path, f"'{start}' does not lie above '{name}'", f"add {up} to edges")


def top_faults(known: Certainty) -> Iterator[Fault]:
    """Several problems on top, none of which is said to be counted."""
    if known.spec.engine.of is not None or not known.sure("engine", "of"):
        return
    # A problem that starts where it should not may lack an edge that leads up.
    tops = [
        name
        for name in known.graph.tops
        if name not in known.loose("l2u") and known.sure("problems", name, "start_from")
    ]
    # Each edge in doubt may yet lead up from one of them.
    if len(tops) - known.doubtful("l2u") > 1:
        yield Fault(
            ("engine",),
            f"several problems lie on top ({quoted(tops)}), so whose updates are counted?",
            f"write 'of: {tops[0]}' under engine",
        )


def _may_lead(net: nx.DiGraph[str], start: str, goal: str, loose: frozenset[str]) -> bool:
    """Whether there is a way, or would be one if a loose end led to or from anywhere."""
    after = nx.descendants(net, start) | {start}
    before = nx.ancestors(net, goal) | {goal}
    return goal in after or not loose.isdisjoint(after | before)
