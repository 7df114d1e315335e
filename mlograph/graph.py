"""The problems of a spec as a networkx graph, and the checks of what it means.

An edge of either kind points from the problem whose parameters are read to the problem whose
loss reads them. The l2u edges alone form the hierarchy: a DAG from leaves to tops.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

import networkx as nx

from mlograph.errors import Fault, GraphError, did_you_mean
from mlograph.language.spec import Copy, DataSpec, EdgeSpec, EnvBatch, GraphSpec, ProblemSpec


@dataclass(frozen=True)
class ProblemGraph:
    """Which problems there are, and who reads whom.

    Attributes:
        spec: the graph as it was written, checked.
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


def build(spec: GraphSpec) -> ProblemGraph:
    """The graph of a spec.

    Raises:
        GraphError: with everything that is wrong, each fault with its path in the spec.
    """
    graph = ProblemGraph(spec)
    faults = [*_edge_faults(spec), *_reference_faults(spec), *_cycle_faults(graph)]
    if not faults:
        faults = [
            *_return_faults(graph),
            *_start_faults(graph),
            *_unroll_faults(graph),
            *_counted_faults(graph),
        ]
    if faults:
        raise GraphError(faults)
    return graph


def warnings(graph: ProblemGraph) -> tuple[Fault, ...]:
    """What is allowed but seldom meant: problems apart from the rest, an Env nobody reads."""
    found: list[Fault] = []
    whole = nx.compose(graph.hierarchy, graph.constraints)
    groups = list(nx.weakly_connected_components(whole))
    if len(groups) > 1:
        main = max(groups, key=len)
        for name in graph.problems:
            if name not in main:
                found.append(
                    Fault(("problems", name), f"'{name}' shares no edge with {_names(main)}")
                )
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


def _edge_faults(spec: GraphSpec) -> Iterator[Fault]:
    seen: dict[EdgeSpec, int] = {}
    for index, edge in enumerate(spec.edges):
        path = ("edges", index, edge.kind)
        for name in dict.fromkeys((edge.source, edge.target)):
            if name not in spec.problems:
                yield Fault(path, f"no problem '{name}'", did_you_mean(name, spec.problems))
        if edge.source == edge.target:
            yield Fault(
                path,
                f"an edge from '{edge.source}' to itself",
                "a loss may always read its own problem",
            )
        if edge in seen:
            yield Fault(path, f"the same edge stands at edges[{seen[edge]}] already")
        seen.setdefault(edge, index)


def _reference_faults(spec: GraphSpec) -> Iterator[Fault]:
    for name, problem in spec.problems.items():
        path = ("problems", name)
        if isinstance(problem.module, Copy):
            yield from _copy_faults(spec, name)
        if problem.start_from is not None and problem.start_from not in spec.problems:
            hint = did_you_mean(problem.start_from, spec.problems)
            yield Fault((*path, "start_from"), f"no problem '{problem.start_from}'", hint)
        batches = list(env_batches(problem.data))
        if batches and spec.env is None:
            yield Fault((*path, "data"), f"'env.{batches[0]}', but the graph has no 'env'")
    counted = spec.engine.of
    if counted is not None and counted not in spec.problems:
        yield Fault(
            ("engine", "of"), f"no problem '{counted}'", did_you_mean(counted, spec.problems)
        )


def _copy_faults(spec: GraphSpec, name: str) -> Iterator[Fault]:
    chain = [name]
    while isinstance(module := spec.problems[chain[-1]].module, Copy):
        path = ("problems", chain[-1], "module", "copy")
        if module.copy_of not in spec.problems:
            if len(chain) == 1:
                hint = did_you_mean(module.copy_of, spec.problems)
                yield Fault(path, f"no problem '{module.copy_of}'", hint)
            return
        if module.copy_of in chain:
            if module.copy_of == name:
                trail = " -> ".join([*chain, name])
                yield Fault(("problems", name, "module", "copy"), f"copies in a circle: {trail}")
            return
        chain.append(module.copy_of)


def _cycle_faults(graph: ProblemGraph) -> Iterator[Fault]:
    try:
        cycle = nx.find_cycle(graph.hierarchy)
    except nx.NetworkXNoCycle:
        return
    trail = " -> ".join([*(edge[0] for edge in cycle), cycle[0][0]])
    yield Fault(
        edge_path(graph, "l2u", *cycle[-1][:2]),
        f"the l2u edges close a cycle: {trail}",
        "a problem cannot lie below itself; was one of them meant as u2l?",
    )


def _return_faults(graph: ProblemGraph) -> Iterator[Fault]:
    whole = nx.compose(graph.hierarchy, graph.constraints)
    for upper, lower in graph.constraints.edges:
        if lower in graph.below(upper):
            continue
        # What lies above `upper` is held fixed while `upper` moves, so no answer comes through it.
        answering = whole.subgraph(set(whole) - graph.above(upper))
        if lower not in answering or not nx.has_path(answering, lower, upper):
            yield Fault(
                edge_path(graph, "u2l", upper, lower),
                f"no hypergradient could return from '{lower}' to '{upper}': "
                "the edge could never have an effect",
                f"add 'l2u: {lower} -> {upper}', or a chain of l2u edges",
            )


def _start_faults(graph: ProblemGraph) -> Iterator[Fault]:
    for name, problem in graph.problems.items():
        path = ("problems", name)
        if problem.start_from is not None:
            if problem.start_from not in graph.constrained_by(name):
                yield Fault(
                    (*path, "start_from"),
                    f"'{name}' starts from '{problem.start_from}' without an edge",
                    f"add 'u2l: {problem.start_from} -> {name}' to edges",
                )
            elif problem.start_from not in graph.above(name):
                yield Fault(
                    (*path, "start_from"),
                    f"'{problem.start_from}' does not lie above '{name}'",
                    f"add 'l2u: {name} -> {problem.start_from}' to edges",
                )
            if problem.warmup_steps:
                yield Fault(
                    (*path, "warmup_steps"),
                    f"'{name}' starts every loop anew from '{problem.start_from}', "
                    "so its warm-up would be lost",
                )


def _unroll_faults(graph: ProblemGraph) -> Iterator[Fault]:
    """Inner loops of different lengths under one upper: possible, but a slip unless declared."""
    for upper, problem in graph.problems.items():
        lowers = graph.lowers(upper)
        lengths = {lower: graph.problems[lower].unroll_steps for lower in lowers}
        if len(set(lengths.values())) > 1 and not problem.unequal_unroll:
            first = lowers[0]
            other = next(lower for lower in lowers if lengths[lower] != lengths[first])
            yield Fault(
                ("problems", other, "unroll_steps"),
                f"for one step of '{upper}', 'l2u: {first} -> {upper}' asks for "
                f"{lengths[first]} updates and 'l2u: {other} -> {upper}' for {lengths[other]}",
                f"make them equal, or write 'unequal_unroll: true' under '{upper}' if it is meant",
            )


def _counted_faults(graph: ProblemGraph) -> Iterator[Fault]:
    if graph.spec.engine.of is None and len(graph.tops) > 1:
        yield Fault(
            ("engine",),
            f"several problems lie on top ({_names(graph.tops)}), so whose updates are counted?",
            f"write 'of: {graph.tops[0]}' under engine",
        )


def edge_path(graph: ProblemGraph, kind: str, source: str, target: str) -> tuple[str | int, ...]:
    """Where an edge stands in the spec."""
    index = next(
        index
        for index, edge in enumerate(graph.spec.edges)
        if (edge.kind, edge.source, edge.target) == (kind, source, target)
    )
    return ("edges", index, kind)


def _names(names: Iterator[str] | frozenset[str] | set[str] | tuple[str, ...]) -> str:
    return ", ".join(f"'{name}'" for name in sorted(names))
