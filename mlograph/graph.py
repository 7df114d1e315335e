"""The problems of a spec as a networkx graph.

An edge of either kind points from the problem whose parameters are read to the problem whose
loss reads them. The l2u edges alone form the hierarchy: a DAG from leaves to tops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from mlograph.errors import Fault, quoted
from mlograph.language.spec import DataSpec, EdgeSpec, EnvBatch, GraphSpec, ProblemSpec


@dataclass(frozen=True)
class ProblemGraph:
    """Which problems there are, and who reads whom.

    What is said here holds of sound graphs (see `checks`); the l2u edges must form a DAG.

    Attributes:
        spec: the graph as it was written.
    """

    spec: GraphSpec

    @property
    def problems(self) -> Mapping[str, ProblemSpec]:
        """What the spec says of each problem, by name."""
        return self.spec.problems

    @cached_property
    def hierarchy(self) -> nx.DiGraph[str]:
        """The l2u edges alone, from lower to upper: a DAG."""
        return _edges_of(self.spec, "l2u")

    @cached_property
    def constraints(self) -> nx.DiGraph[str]:
        """The u2l edges alone, from upper to lower."""
        return _edges_of(self.spec, "u2l")

    @cached_property
    def order(self) -> tuple[str, ...]:
        """All problems, every lower one before its uppers; ties in the order of the file."""
        place = {name: index for index, name in enumerate(self.problems)}
        return tuple(nx.lexicographical_topological_sort(self.hierarchy, key=place.__getitem__))

    @property
    def leaves(self) -> tuple[str, ...]:
        """Problems with no l2u edge into them."""
        return tuple(name for name in self.order if not self.lowers(name))

    @property
    def tops(self) -> tuple[str, ...]:
        """Problems with no l2u edge out of them."""
        return tuple(name for name in self.order if not self.uppers(name))

    @cached_property
    def counted(self) -> str:
        """The problem whose updates `engine.steps` counts."""
        return self.spec.engine.of or self.tops[0]

    @cached_property
    def _below(self) -> Mapping[str, frozenset[str]]:
        below: dict[str, frozenset[str]] = {}
        for name in self.order:
            below[name] = frozenset().union(*({x} | below[x] for x in self.lowers(name)))
        return below

    @cached_property
    def _above(self) -> Mapping[str, frozenset[str]]:
        above: dict[str, frozenset[str]] = {}
        for name in reversed(self.order):
            above[name] = frozenset().union(*({x} | above[x] for x in self.uppers(name)))
        return above

    @cached_property
    def _reads(self) -> Mapping[str, frozenset[str]]:
        return {
            name: frozenset(self.lowers(name)) | frozenset(self.constrained_by(name))
            for name in self.problems
        }

    @cached_property
    def places(self) -> Mapping[tuple[str, str, str], int]:
        """The number of each edge, of the first where it is said twice."""
        edges = list(enumerate(self.spec.edges))[::-1]
        return {(edge.kind, edge.source, edge.target): index for index, edge in edges}

    @cached_property
    def leaving(self) -> Mapping[str, tuple[EdgeSpec, ...]]:
        """The edges out of each problem, in the order of the file."""
        found: dict[str, list[EdgeSpec]] = {name: [] for name in self.problems}
        for edge in self.spec.edges:
            found.setdefault(edge.source, []).append(edge)
        return {name: tuple(edges) for name, edges in found.items()}

    @cached_property
    def depth(self) -> int:
        """Levels: problems on the longest way down, along u2l edges and against l2u edges.

        Problems that constrain one another in a ring count as the l2u edges among them say.
        """
        rings = nx.condensation(nx.compose(self.hierarchy.reverse(), self.constraints))
        longest: dict[int, int] = {}
        for ring in nx.topological_sort(rings):
            inside = self.hierarchy.subgraph(rings.nodes[ring]["members"])
            above = max((longest[other] for other in rings.predecessors(ring)), default=0)
            longest[ring] = above + 1 + nx.dag_longest_path_length(inside)
        return max(longest.values())

    def lowers(self, name: str) -> tuple[str, ...]:
        """Problems whose solutions stand in the loss of `name`."""
        return tuple(self.hierarchy.predecessors(name))

    def uppers(self, name: str) -> tuple[str, ...]:
        """Problems in whose losses the solution of `name` stands."""
        return tuple(self.hierarchy.successors(name))

    def constrained_by(self, name: str) -> tuple[str, ...]:
        """Upper problems whose parameters stand in the loss of `name`."""
        return tuple(self.constraints.predecessors(name))

    def reads(self, name: str) -> frozenset[str]:
        """All problems with an edge into `name`: what its loss may read besides its own."""
        return self._reads[name]

    def below(self, name: str) -> frozenset[str]:
        """All problems from which a chain of l2u edges leads to `name`."""
        return self._below[name]

    def above(self, name: str) -> frozenset[str]:
        """All problems to which a chain of l2u edges leads from `name`."""
        return self._above[name]

    def reads_env(self, name: str) -> bool:
        """Whether some of the data of `name` comes from the Env."""
        return any(True for _ in env_batches(self.problems[name].data))

    def nested_lowers(self, name: str) -> tuple[str, ...]:
        """Problems that `name` itself constrains by a u2l edge, and that answer to it.

        Its optimality condition is on its total gradient, which their answers are a part of.
        """
        return self._nested_lowers[name]

    @cached_property
    def _nested_lowers(self) -> Mapping[str, tuple[str, ...]]:
        whole = nx.compose(self.hierarchy, self.constraints)
        return {name: tuple(self._answering(name, whole)) for name in self.problems}

    def _answering(self, name: str, whole: nx.DiGraph[str]) -> Iterator[str]:
        """What `name` moves and what then moves its loss; what lies above it stands still."""
        for moved in self.constraints.successors(name):
            if moved in self.below(name):
                yield moved
            elif self.lowers(name):
                moving = whole.subgraph(set(whole) - self.above(name) - {name})
                if moved in moving and any(
                    nx.has_path(moving, moved, lower) for lower in self.lowers(name)
                ):
                    yield moved


def warnings(graph: ProblemGraph) -> tuple[Fault, ...]:
    """What is allowed but seldom meant: problems apart from the rest, an Env nobody reads."""
    found: list[Fault] = []
    whole = nx.compose(graph.hierarchy, graph.constraints)
    groups = list(nx.weakly_connected_components(whole))
    if len(groups) > 1:
        main = max(groups, key=len)
        for name in graph.problems:
            if name not in main:
                message = f"'{name}' shares no edge with {quoted(sorted(main))}"
                found.append(Fault(("problems", name), message))
    if graph.spec.env is not None and not any(map(graph.reads_env, graph.problems)):
        found.append(
            Fault(("env",), "no problem reads from the Env", "write 'data: env.NAME' in a problem")
        )
    return tuple(found)


def env_batches(data: DataSpec | None) -> Iterator[str]:
    """Names of the Env batches among the data of a problem."""
    for source in data.values() if isinstance(data, dict) else (data,):
        if isinstance(source, EnvBatch):
            yield source.name


def _edges_of(spec: GraphSpec, kind: str) -> nx.DiGraph[str]:
    net: nx.DiGraph[str] = nx.DiGraph()
    net.add_nodes_from(spec.problems)
    net.add_edges_from(
        (edge.source, edge.target)
        for edge in spec.edges
        if edge.kind == kind and {edge.source, edge.target} <= spec.problems.keys()
        # An edge from a problem to itself is a fault of its own.
        if edge.source != edge.target
    )
    return net


def edge_path(graph: ProblemGraph, kind: str, source: str, target: str) -> tuple[str | int, ...]:
    """Where an edge stands in the spec."""
    index = graph.places[kind, source, target]
    return ("edges", index, kind)
