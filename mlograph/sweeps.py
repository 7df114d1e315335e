"""Which problems a hypergradient visits, in which order, and who sends to whom.

A problem p *answers* to u if its solution depends on θ_u. Where p itself has problems that answer
to it, its condition is on its total gradient, which depends on all that those depend on; with
partial curvature it is on ∂L_p/∂θ_p alone, which depends on what L_p reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import networkx as nx

from mlograph.graph import ProblemGraph
from mlograph.language.methods import Implicit
from mlograph.plan import Sweep, Visit

Depends = Mapping[str, frozenset[str]]


def sweeps(graph: ProblemGraph) -> dict[str, Sweep]:
    """The sweep of every problem that has problems below it."""
    found = _Sweeps(graph)
    made = {name: found.sweep(name) for name in graph.order if graph.lowers(name)}
    return {
        name: replace(sweep, approximations=tuple(_left_out(made, sweep)))
        for name, sweep in made.items()
    }


def _left_out(made: Mapping[str, Sweep], sweep: Sweep) -> dict[str, None]:
    """What a sweep leaves out itself, and what the total conditions on its way leave out."""
    queue, texts = [sweep], dict[str, None]()
    for one in queue:
        texts.update(dict.fromkeys(one.approximations))
        inner = (made[visit.problem] for visit in one.visits if visit.total)
        queue += [other for other in inner if other not in queue]
    return texts


class _Sweeps:
    """Sweeps of one graph: who answers to whom is found once."""

    def __init__(self, graph: ProblemGraph) -> None:
        self._graph = graph
        self._answers = {
            name: frozenset(_sends(name, graph, graph.reads)) if graph.lowers(name) else frozenset()
            for name in graph.order
        }
        self._known: dict[str, frozenset[str]] = {}
        # Lower ones first: a problem asks for what those below it depend on, and who answers to
        # them. Hidden ones may come later in the order, so it takes another look now and then.
        for _ in graph.order:
            before = dict(self._known), dict(self._answers)
            for name in graph.order:
                if graph.lowers(name):
                    self._answers[name] = frozenset(self._sent(name))
                self._known[name] = self._depends(name, None)
            if before == (self._known, self._answers):
                break

    def _sent(self, upper: str) -> dict[str, tuple[str, ...]]:
        return _sends(upper, self._graph, lambda name: self._depends(name, upper))

    def sweep(self, upper: str) -> Sweep:
        """The order in which the hypergradient of `upper` visits the problems that answer to it.

        These are the problems below `upper`, and hidden ones: problems that `upper` moves and that
        move a problem below it, without an l2u chain of their own to it. Whoever depends on a
        problem is visited before it.
        """
        sends = self._sent(upper)
        visits = tuple(Visit(name, to, self._is_total(name, upper)) for name, to in sends.items())
        left_out = (*_partial(self._graph, visits), *self._circles(upper, visits))
        return Sweep(upper, visits, left_out)

    def _circles(self, upper: str, visits: tuple[Visit, ...]) -> Iterator[str]:
        """Rivals of which each depends on the other: a sweep goes through them one way only."""
        place = {visit.problem: index for index, visit in enumerate(visits)}
        for visit in visits:
            name = visit.problem
            for other in sorted(self._depends(name, upper) & place.keys()):
                # That is partial curvature, of the one or the other, and said as such.
                nested = name in self._answers[other] or other in self._answers[name]
                if place[other] < place[name] and not nested:
                    yield (
                        f"'{name}' and '{other}' depend on one another: how '{other}' moves "
                        f"'{name}' is left out"
                    )

    def _depends(self, name: str, upper: str | None) -> frozenset[str]:
        """What the solution of `name` depends on, as `upper` sees it.

        What answers to `name` is a part of its total gradient, and so is what that depends on. But
        two leaders over one follower take each other as given: what `name` and `upper` both have
        below them tells `upper` nothing of `name`.
        """
        reads = self._graph.reads(name)
        if not self._is_total(name, upper):
            return reads
        answers, below = self._answers[name], frozenset[str]()
        if upper is not None and name not in self._graph.below(upper):
            below = self._graph.below(upper)
        known = (self._known.get(x, self._graph.reads(x)) for x in answers - below)
        return reads.union(*known) - answers - {name}

    def _is_total(self, name: str, upper: str | None) -> bool:
        """Whether the condition of `name` can be, and shall be, on its total gradient.

        Leaders that answer to one another cannot both be followers: to either, the other's
        condition is a partial one.
        """
        problems, answers = self._graph.problems, self._answers[name]
        method = problems[name].hypergradient
        return (
            isinstance(method, Implicit)
            and method.curvature != "partial"
            and bool(answers)
            and upper not in answers
            and all(isinstance(problems[answer].hypergradient, Implicit) for answer in answers)
        )


def _sends(
    upper: str, graph: ProblemGraph, depends: Callable[[str], frozenset[str]]
) -> dict[str, tuple[str, ...]]:
    """Who answers to `upper`, in the order of visits, and to whom each sends."""
    below = [name for name in reversed(graph.order) if name in graph.below(upper)]
    names = below + _hidden(graph, upper, below)
    needs = {name: depends(name) for name in names}
    names = _dependants_first(needs, names)
    place = {name: index for index, name in enumerate(names)}
    sends: dict[str, tuple[str, ...]] = {}
    useful = {upper}
    for name in reversed(names):
        later = [x for x in needs[name] & useful if place.get(x, len(place)) > place[name]]
        if later:
            sends[name] = tuple(sorted(later, key=lambda x: place.get(x, len(place))))
            useful.add(name)
    reached = set(graph.lowers(upper))
    for name in names:
        if name in reached:
            reached.update(sends.get(name, ()))
    return {name: sends[name] for name in names if name in sends and name in reached}


def _hidden(graph: ProblemGraph, upper: str, below: list[str]) -> list[str]:
    """Problems reached by reading on from those below; what lies above `upper` stands still."""
    known = graph.above(upper) | {upper, *below}
    found: set[str] = set()
    queue = list(below)
    for name in queue:
        new = graph.reads(name) - known - found
        found |= new
        queue += sorted(new)
    return [name for name in reversed(graph.order) if name in found]


def _dependants_first(depends: Depends, names: list[str]) -> list[str]:
    """`names` with each before what it depends on; those in a circle stay as they are."""
    place = {name: index for index, name in enumerate(names)}
    pairs = [(name, other) for name in names for other in depends[name] if other in place]
    if all(place[name] < place[other] for name, other in pairs):
        return names
    net: nx.DiGraph[str] = nx.DiGraph(pairs)
    net.add_nodes_from(names)
    circles = nx.condensation(net)
    members = {
        number: sorted(part, key=place.__getitem__)
        for number, part in circles.nodes(data="members")
    }
    order = nx.lexicographical_topological_sort(
        circles, key=lambda number: place[members[number][0]]
    )
    return [name for number in order for name in members[number]]


def _partial(graph: ProblemGraph, visits: Iterable[Visit]) -> Iterator[str]:
    for visit in visits:
        nested = graph.nested_lowers(visit.problem)
        if nested and not visit.total:
            yield (
                f"partial curvature of '{visit.problem}': how {', '.join(nested)} "
                f"answers to '{visit.problem}' is left out of its Hessian"
            )
