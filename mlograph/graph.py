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
    def written(self) -> WrittenEdges:
        """The edges as the spec lists them."""
        return WrittenEdges(self.spec)

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
    def tops(self) -> tuple[str, ...]:
        """Problems with no l2u edge out of them."""
        return tuple(name for name in self.order if not self.uppers(name))

    def lowers(self, name: str) -> tuple[str, ...]:
        """Problems whose solutions stand in the loss of `name`."""
        return tuple(self.hierarchy.predecessors(name))

    def uppers(self, name: str) -> tuple[str, ...]:
        """Problems in whose losses the solution of `name` stands."""
        return tuple(self.hierarchy.successors(name))

    @cached_property
    def reads(self) -> Mapping[str, frozenset[str]]:
        """Of each problem, all with an edge into it: what its loss may read besides its own."""
        edges = nx.compose(self.hierarchy, self.constraints)
        return {name: frozenset(edges.predecessors(name)) for name in self.problems}

    @cached_property
    def below(self) -> Mapping[str, frozenset[str]]:
        """Of each problem, all from which a chain of l2u edges leads to it."""
        below: dict[str, frozenset[str]] = {}
        for name in self.order:
            below[name] = frozenset().union(*({x} | below[x] for x in self.lowers(name)))
        return below

    @cached_property
    def above(self) -> Mapping[str, frozenset[str]]:
        """Of each problem, all to which a chain of l2u edges leads from it."""
        above: dict[str, frozenset[str]] = {}
        for name in reversed(self.order):
            above[name] = frozenset().union(*({x} | above[x] for x in self.uppers(name)))
        return above

    @cached_property
    def nested_lowers(self) -> Mapping[str, tuple[str, ...]]:
        """Of each problem, those that it constrains by a u2l edge and that answer to it.

        Its optimality condition is on its total gradient, which their answers are a part of.
        """
        edges = nx.compose(self.hierarchy, self.constraints)
        return {name: tuple(_answering(self, name, edges)) for name in self.problems}


@dataclass(frozen=True)
class WrittenEdges:
    """The edges as a spec lists them, to be pointed at.

    Attributes:
        spec: the graph as it was written.
    """

    spec: GraphSpec

    @cached_property
    def places(self) -> Mapping[tuple[str, str, str], int]:
        """The number of each edge, of the first where it is said twice."""
        edges = list(enumerate(self.spec.edges))[::-1]
        return {(edge.kind, edge.source, edge.target): index for index, edge in edges}

    @cached_property
    def leaving(self) -> Mapping[str, tuple[EdgeSpec, ...]]:
        """The edges out of each problem, in the order of the file."""
        found: dict[str, list[EdgeSpec]] = {name: [] for name in self.spec.problems}
        for edge in self.spec.edges:
            found.setdefault(edge.source, []).append(edge)
        return {name: tuple(edges) for name, edges in found.items()}


def edge_path(graph: ProblemGraph, kind: str, source: str, target: str) -> tuple[str | int, ...]:
    """Where an edge stands in the spec."""
    index = graph.written.places[kind, source, target]
    return ("edges", index, kind)


def counted(graph: ProblemGraph) -> str:
    """The problem whose updates `engine.steps` counts."""
    return graph.spec.engine.of or graph.tops[0]


def depth(graph: ProblemGraph) -> int:
    """Levels: problems on the longest way down, along u2l edges and against l2u edges.

    Problems that constrain one another in a ring count as the l2u edges among them say.
    """
    rings = nx.condensation(nx.compose(graph.hierarchy.reverse(), graph.constraints))
    longest: dict[int, int] = {}
    for ring in nx.topological_sort(rings):
        inside = graph.hierarchy.subgraph(rings.nodes[ring]["members"])
        above = max((longest[other] for other in rings.predecessors(ring)), default=0)
        longest[ring] = above + 1 + nx.dag_longest_path_length(inside)
    return max(longest.values())


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
    if graph.spec.env is not None and not any(map(reads_env, graph.problems.values())):
        found.append(
            Fault(("env",), "no problem reads from the Env", "write 'data: env.NAME' in a problem")
        )
    return tuple(found)


def reads_env(spec: ProblemSpec) -> bool:
    """Whether some of the data of a problem comes from the Env."""
    return any(True for _ in env_batches(spec.data))


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


def _answering(graph: ProblemGraph, name: str, edges: nx.DiGraph[str]) -> Iterator[str]:
    """What `name` moves and what then moves its loss; what lies above it stands still."""
    for moved in graph.constraints.successors(name):
        if moved in graph.below[name]:
            yield moved
        elif graph.lowers(name):
            moving = edges.subgraph(set(edges) - graph.above[name] - {name})
            if moved in moving and any(
                nx.has_path(moving, moved, lower) for lower in graph.lowers(name)
            ):
                yield moved
