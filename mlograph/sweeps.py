"""Which problems a hypergradient visits, in which order, and who sends to whom.

A problem p *answers* to u if its solution depends on θ_u. Where p itself has problems that answer
to it, its condition is on its total gradient, which depends on all that those depend on; with
partial curvature it is on ∂L_p/∂θ_p alone, which depends on what L_p reads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import replace
from functools import cached_property
from heapq import heapify, heappop, heappush

from mlograph.errors import Fault, GraphError
from mlograph.graph import ProblemGraph
from mlograph.language.methods import Implicit
from mlograph.plan import Sweep, Visit

Depends = Mapping[str, frozenset[str]]

# Five hundred problems in a ladder take most of it, in one or two seconds.
MOST_WORK = 760_000


def sweeps(graph: ProblemGraph) -> dict[str, Sweep]:
    """The sweep of every problem that has problems below it.

    Where total conditions would take too long to be told apart, all are partial ones, which is said
    as an approximation.

    Raises:
        GraphError: that takes too long as well, or total conditions were asked for by name.
    """
    # What partial conditions alone may take.
    reads = {name: 1 + len(graph.reads(name)) for name in graph.order}
    _Work(MOST_WORK).spend(sum(reads[name] for upper in graph.order for name in graph.below(upper)))
    found = _Sweeps(graph)
    try:
        found.settle()
        return _all_sweeps(graph, found)
    except GraphError:
        for name, problem in graph.problems.items():
            method = problem.hypergradient
            if isinstance(method, Implicit) and method.curvature == "total":
                path = ("problems", name, "hypergradient", "curvature")
                message = "too many problems depend on one another for total curvature"
                raise GraphError([Fault(path, message, "write 'partial'")]) from None
        return _all_sweeps(graph, _Sweeps(graph, can_be_total=False))


def _all_sweeps(graph: ProblemGraph, found: _Sweeps) -> dict[str, Sweep]:
    made = {name: found.sweep(name) for name in graph.order if graph.lowers(name)}
    return {
        name: replace(sweep, approximations=tuple(_left_out(made, sweep)))
        for name, sweep in made.items()
    }


def _left_out(made: Mapping[str, Sweep], sweep: Sweep) -> dict[str, None]:
    """What a sweep leaves out itself, and what the total conditions on its way leave out."""
    known, waiting, texts = {sweep.upper: None}, [sweep], dict[str, None]()
    for one in waiting:
        texts.update(dict.fromkeys(one.approximations))
        inner = dict.fromkeys(v.problem for v in one.visits if v.total and v.problem not in known)
        known |= inner
        waiting += [made[name] for name in inner]
    return texts


class _Work:
    """Counts the dependencies that are looked at, so that no graph takes for ever."""

    def __init__(self, most: int) -> None:
        self.done, self._most = 0, most

    def spend(self, amount: int) -> None:
        self.done += amount
        if self.done > self._most:
            message = "too many problems depend on one another for a plan of their hypergradients"
            raise GraphError([Fault(("edges",), message, "fewer edges make it simpler")])


class _Sweeps:
    """Sweeps of one graph: who answers to whom is found once."""

    def __init__(self, graph: ProblemGraph, *, can_be_total: bool = True) -> None:
        self._graph = graph
        self._none_total = not can_be_total
        self._work = _Work(MOST_WORK)
        self._answers: dict[str, frozenset[str]] = {}
        self._total: dict[str, bool] = {}
        self._known: dict[str, frozenset[str]] = {}
        self._ways = {name: _Ways(name, graph, self._work) for name in graph.order}
        if not can_be_total:
            for name in graph.order:
                self._learn(name, ())
            return
        for name in graph.order:
            self._learn(name, self._ways[name].sends(graph.reads) if graph.lowers(name) else ())

    def settle(self) -> None:
        """Find who answers to whom where conditions are total ones."""
        # Lower ones first: a problem asks for what those below it depend on, and who answers to
        # them. Only of hidden ones that come later is less known then than there is to know.
        for name in self._graph.order:
            if self._graph.lowers(name):
                self._learn(name, self._sent(name))

    def _learn(self, name: str, answers: Iterable[str]) -> None:
        """Note who answers to a problem, and what follows from it."""
        self._answers[name] = frozenset(answers)
        self._total[name] = self._can_be_total(name)
        self._known[name] = self._seen(name, frozenset())

    def _can_be_total(self, name: str) -> bool:
        problems, answers = self._graph.problems, self._answers[name]
        method = problems[name].hypergradient
        return (
            isinstance(method, Implicit)
            and not self._none_total
            and method.curvature != "partial"
            and bool(answers)
            and all(isinstance(problems[answer].hypergradient, Implicit) for answer in answers)
        )

    def _sent(self, upper: str) -> dict[str, tuple[str, ...]]:
        return self._ways[upper].sends(lambda name: self._depends(name, upper))

    def sweep(self, upper: str) -> Sweep:
        """The order in which the hypergradient of `upper` visits the problems that answer to it.

        These are the problems below `upper`, and hidden ones: problems that `upper` moves and that
        move a problem below it, without an l2u chain of their own to it. Whoever depends on a
        problem is visited before it.
        """
        sends = self._sent(upper)
        if self._none_total:
            self._answers[upper] = frozenset(sends)
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

    def _depends(self, name: str, upper: str) -> frozenset[str]:
        """What the solution of `name` depends on, as `upper` sees it.

        What answers to `name` is a part of its total gradient, and so is what that depends on. But
        two leaders over one follower take each other as given: what `name` and `upper` both have
        below them tells `upper` nothing of `name`.
        """
        if not self._is_total(name, upper):
            return self._graph.reads(name)
        below = self._graph.below(upper)
        return self._known[name] if name in below else self._seen(name, below)

    def _seen(self, name: str, shared: frozenset[str]) -> frozenset[str]:
        reads, answers = self._graph.reads(name), self._answers[name]
        if not self._total[name]:
            return reads
        known = (self._known.get(x, self._graph.reads(x)) for x in answers - shared)
        return reads.union(*known) - answers - {name}

    def _is_total(self, name: str, upper: str) -> bool:
        """Whether the condition of `name` can be, and shall be, on its total gradient.

        Leaders that answer to one another cannot both be followers: to either, the other's
        condition is a partial one.
        """
        return self._total[name] and upper not in self._answers[name]


class _Ways:
    """The ways back to one problem, asked for again as more is known of what depends on what."""

    def __init__(self, upper: str, graph: ProblemGraph, work: _Work) -> None:
        self._upper, self._graph, self._work = upper, graph, work
        self._needs: dict[str, frozenset[str]] = {}
        self._sends: dict[str, tuple[str, ...]] = {}

    def sends(self, depends: Callable[[str], frozenset[str]]) -> dict[str, tuple[str, ...]]:
        """Who answers to the problem, in the order of visits, and to whom each sends."""
        upper, lowers = self._upper, self._graph.lowers(self._upper)
        candidates = self._candidates
        needs = _leading_back(upper, lowers, candidates.keys(), depends, self._work)
        if needs != self._needs:
            self._needs = needs
            self._sends = _sends(upper, lowers, [x for x in candidates if x in needs], needs)
        return self._sends

    @cached_property
    def _candidates(self) -> dict[str, None]:
        """The problems below, and hidden ones."""
        under = self._graph.below(self._upper)
        below = [name for name in reversed(self._graph.order) if name in under]
        return dict.fromkeys(below + _hidden(self._graph, self._upper, below))


def _sends(
    upper: str, lowers: Iterable[str], candidates: list[str], needs: Depends
) -> dict[str, tuple[str, ...]]:
    """See `_Ways.sends`."""
    names = _dependants_first(needs, candidates)
    place = {name: index for index, name in enumerate(names)}
    sends: dict[str, tuple[str, ...]] = {}
    useful = {upper}
    for name in reversed(names):
        later = [x for x in needs[name] & useful if place.get(x, len(place)) > place[name]]
        if later:
            sends[name] = tuple(sorted(later, key=lambda x: place.get(x, len(place))))
            useful.add(name)
    reached = set(lowers)
    for name in names:
        if name in reached:
            reached.update(sends.get(name, ()))
    return {name: sends[name] for name in names if name in sends and name in reached}


def _leading_back(
    upper: str,
    lowers: Iterable[str],
    candidates: Set[str],
    depends: Callable[[str], frozenset[str]],
    work: _Work,
) -> dict[str, frozenset[str]]:
    """What each candidate depends on that stands on a way from one of the `lowers` to `upper`."""
    needs: dict[str, frozenset[str]] = {}
    readers: dict[str, list[str]] = {}
    queue = list(lowers)
    for name in queue:
        if name in needs:
            continue
        needed = needs[name] = depends(name)
        work.spend(1 + len(needed))
        for other in needed:
            if other in readers:
                readers[other].append(name)
                continue
            readers[other] = [name]
            if other in candidates:
                queue.append(other)
    found, back = {upper}, [upper]
    for name in back:
        new = [reader for reader in readers.get(name, ()) if reader not in found]
        found.update(new)
        back += new
    return {name: needs[name] for name in needs if name in found}


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
    needs = [[place[x] for x in depends[name] if x in place] for name in names]
    if all(index < other for index, others in enumerate(needs) for other in others):
        return names
    order = _in_order([*range(len(names))], needs)
    if len(order) == len(names):
        return [names[index] for index in order]
    circle = _circles(needs)
    order = _in_order(circle, needs)
    return [names[index] for index in sorted(place.values(), key=lambda i: (order[circle[i]], i))]


def _in_order(circle: list[int], needs: list[list[int]]) -> dict[int, int]:
    """The place of each circle, before those that it needs, the least number first.

    Circles of circles get none, nor does what they need: there are none where `circle` is right.
    """
    waiting = dict.fromkeys(circle, 0)
    pairs = {(circle[i], circle[o]) for i, others in enumerate(needs) for o in others}
    after: dict[int, list[int]] = {number: [] for number in waiting}
    for first, then in pairs:
        if first != then:
            after[first].append(then)
            waiting[then] += 1
    ready = [number for number, count in waiting.items() if not count]
    heapify(ready)
    order: dict[int, int] = {}
    while ready:
        number = heappop(ready)
        order[number] = len(order)
        for then in after[number]:
            waiting[then] -= 1
            if not waiting[then]:
                heappush(ready, then)
    return order


def _circles(needs: list[list[int]]) -> list[int]:
    """For each number the least of those in its circle: what it needs and what needs it.

    Path-based strong components (Gabow, 2000), without recursion.
    """
    found = [-1] * len(needs)
    seen: dict[int, int] = {}
    for root in range(len(needs)):
        if root not in seen:
            _walk(root, needs, seen, found)
    return found


def _walk(root: int, needs: list[list[int]], seen: dict[int, int], found: list[int]) -> None:
    """Find the circles of all that `root` leads to and that was not seen yet.

    `path` holds what has no circle yet, `bounds` where on it circles may still begin.
    """
    walk, path, bounds = [(root, iter(needs[root]))], [root], [root]
    seen[root] = len(seen)
    while walk:
        number, others = walk[-1]
        other = next(others, None)
        if other is None:
            walk.pop()
            if bounds[-1] == number:
                bounds.pop()
                _close(path, number, found)
        elif other not in seen:
            seen[other] = len(seen)
            walk.append((other, iter(needs[other])))
            path.append(other)
            bounds.append(other)
        elif found[other] < 0:
            while seen[bounds[-1]] > seen[other]:
                bounds.pop()


def _close(path: list[int], first: int, found: list[int]) -> None:
    """The end of `path` from `first` on is a circle."""
    members = [path.pop()]
    while members[-1] != first:
        members.append(path.pop())
    least = min(members)
    for member in members:
        found[member] = least


def _partial(graph: ProblemGraph, visits: Iterable[Visit]) -> Iterator[str]:
    for visit in visits:
        nested = graph.nested_lowers(visit.problem)
        if nested and not visit.total:
            yield (
                f"partial curvature of '{visit.problem}': how {', '.join(nested)} "
                f"answers to '{visit.problem}' is left out of its Hessian"
            )
