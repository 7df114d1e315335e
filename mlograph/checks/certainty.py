"""What is certain of a graph while some of it is at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from mlograph.errors import Fault
from mlograph.graph import ProblemGraph
from mlograph.language.doubts import Doubts
from mlograph.language.mending import NO_EDGE
from mlograph.language.spec import EdgeSpec, GraphSpec


@dataclass(frozen=True)
class Certainty:
    """A graph, and which parts of it can be relied on.

    Attributes:
        spec: what the graph says, with stand-ins for what is not understood (see `mending`).
        doubts: what in it may say something else than was meant.
    """

    spec: GraphSpec
    doubts: Doubts

    def sure(self, *path: str | int) -> bool:
        """Whether what stands at `path`, or that nothing stands there, can be relied on."""
        return not self.doubts.touch(path)

    def less(self, faults: Iterable[Fault]) -> Certainty:
        """What is still certain after further faults were found."""
        return Certainty(self.spec, self.doubts.and_at(fault.path for fault in faults))

    @cached_property
    def graph(self) -> ProblemGraph:
        """The edges that are certain, without those that lie on a cycle of l2u edges."""
        around = {name: number for number, names in enumerate(self.circles) for name in names}

        def circular(edge: EdgeSpec) -> bool:
            number = around.get(edge.source)
            return edge.kind == "l2u" and number is not None and number == around.get(edge.target)

        return without_edges(self._named, circular)

    @cached_property
    def circles(self) -> tuple[frozenset[str], ...]:
        """The problems that lie below themselves, together with those they share a cycle with."""
        place = {name: index for index, name in enumerate(self.spec.problems)}
        groups = nx.strongly_connected_components(self._named.hierarchy)
        circles = (frozenset(group) for group in groups if len(group) > 1)
        return tuple(sorted(circles, key=lambda names: min(map(place.__getitem__, names))))

    @cached_property
    def _named(self) -> ProblemGraph:
        edges = tuple(
            edge
            if self.sure("edges", index) and self._ends(edge) == {edge.source, edge.target}
            else NO_EDGE
            for index, edge in enumerate(self.spec.edges)
        )
        return ProblemGraph(self.spec.model_copy(update={"edges": edges}))

    def _ends(self, edge: EdgeSpec) -> frozenset[str]:
        return frozenset({edge.source, edge.target} & self.spec.problems.keys())

    def loose(self, kind: str) -> frozenset[str]:
        """Problems that an edge of this kind may join with any other, once faults are mended."""
        return self._loose[kind]

    def doubtful(self, kind: str) -> int:
        """How many edges in doubt may turn out to be of this kind."""
        return len(self._doubtful[kind])

    @cached_property
    def _loose(self) -> Mapping[str, frozenset[str]]:
        return {kind: frozenset().union(*ends) for kind, ends in self._doubtful.items()}

    @cached_property
    def _doubtful(self) -> Mapping[str, list[frozenset[str]]]:
        """For each kind, and each edge in doubt that may be of it, the problems it may join."""
        everything = frozenset(self.spec.problems)
        if self.doubts.cover(("edges",)):
            return {"u2l": [everything], "l2u": [everything]}
        found: dict[str, list[frozenset[str]]] = {"u2l": [], "l2u": []}
        for written, certain in zip(self.spec.edges, self.graph.spec.edges, strict=True):
            if certain is not NO_EDGE:
                continue
            ends = self._ends(written)
            # Where only a name is wrong, the kind is right; else it may be the kind.
            for kind in (written.kind,) if len(ends) == 1 else found:
                found[kind].append(ends or everything)
        return found


def without_edges(graph: ProblemGraph, dropped: Callable[[EdgeSpec], bool]) -> ProblemGraph:
    """The graph with stand-ins for some edges, so that the others keep their numbers."""
    edges = tuple(NO_EDGE if dropped(edge) else edge for edge in graph.spec.edges)
    return ProblemGraph(graph.spec.model_copy(update={"edges": edges}))
