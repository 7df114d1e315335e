"""How often each problem acts: loops of one length under one upper, and rates with a solution."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from mlograph.checks.certainty import Certainty, without_edges
from mlograph.errors import Fault
from mlograph.graph import ProblemGraph
from mlograph.scheduler import conflicts, excess


def loop_faults(known: Certainty) -> Iterator[Fault]:
    """Inner loops of different lengths under one upper: possible, but a slip unless declared."""
    for upper in known.graph.problems:
        lengths = _unequal(known, upper)
        if lengths:
            first = next(iter(lengths))
            other = next(lower for lower in lengths if lengths[lower] != lengths[first])
            yield Fault(
                ("problems", other, "unroll_steps"),
                f"for one step of '{upper}', 'l2u: {first} -> {upper}' asks for "
                f"{lengths[first]} updates and 'l2u: {other} -> {upper}' for {lengths[other]}",
                f"make them equal, or write 'unequal_unroll: true' under '{upper}' if it is meant",
            )


def rate_faults(known: Certainty) -> Iterator[Fault]:
    """Rates that contradict each other."""
    yield from conflicts(_rated(known, _unsure(known)))


def period_faults(known: Certainty) -> Iterator[Fault]:
    """A period too long to be laid out."""
    unsure = _unsure(known)
    graph = _rated(known, unsure)
    if not conflicts(graph):
        # Whatever is in doubt can only make a period longer.
        yield from excess(graph, exact=not (unsure or known.doubtful("l2u")))


def _rated(known: Certainty, unsure: Collection[str]) -> ProblemGraph:
    """The graph without the l2u edges whose rates are not certain."""
    return without_edges(known.graph, lambda edge: edge.source in unsure)


def _unsure(known: Certainty) -> set[str]:
    """Problems of which it is in doubt how often they act for those above."""
    unequal = {lower for upper in known.graph.problems for lower in _unequal(known, upper)}
    return unequal.union(name for name in known.graph.problems if not _has_sure_rate(known, name))


def _has_sure_rate(known: Certainty, name: str) -> bool:
    return known.sure("problems", name, "unroll_steps") and known.sure(
        "problems", name, "gradient_accumulation"
    )


def _unequal(known: Certainty, upper: str) -> Mapping[str, int]:
    """The lengths of the loops under `upper`, where they differ and should not."""
    graph = known.graph
    declared = graph.problems[upper].unequal_unroll
    if declared or not known.sure("problems", upper, "unequal_unroll"):
        return {}
    lengths = {
        lower: graph.problems[lower].unroll_steps
        for lower in graph.lowers(upper)
        if known.sure("problems", lower, "unroll_steps")
    }
    return lengths if len(set(lengths.values())) > 1 else {}
