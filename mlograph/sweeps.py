"""Which problems a hypergradient visits, in which order, and who sends to whom.

A problem p *answers* to u if its solution depends on θ_u. Where p itself has problems that answer
to it, its condition is on its total gradient, which depends on all that those depend on; with
partial curvature it is on ∂L_p/∂θ_p alone, which depends on what L_p reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from mlograph.errors import Fault, GraphError
from mlograph.graph import ProblemGraph
from mlograph.language.methods import Implicit
from mlograph.plan import Sweep, Visit
from mlograph.returns import Numbered, Returns, Ways, Work, members

# About a second; a ladder of five hundred problems takes a thousandth of it.
MOST_WORK = 1_500_000


def sweeps(graph: ProblemGraph) -> dict[str, Sweep]:
    """The sweep of every problem that has problems below it.

    Where total conditions would take too long to be told apart, all are partial ones, which is said
    as an approximation.

    Raises:
        GraphError: that takes too long as well, or total conditions were asked for by name.
    """
    net = Numbered(graph)
    try:
        found = _Sweeps(net)
        found.settle()
        return _all_sweeps(graph, found)
    except GraphError:
        for name, problem in graph.problems.items():
            method = problem.hypergradient
            if isinstance(method, Implicit) and method.curvature == "total":
                path = ("problems", name, "hypergradient", "curvature")
                message = "too many problems depend on one another for total curvature"
                raise GraphError([Fault(path, message, "write 'partial'")]) from None
        return _all_sweeps(graph, _Sweeps(net, can_be_total=False))


def _all_sweeps(graph: ProblemGraph, found: _Sweeps) -> dict[str, Sweep]:
    made = {name: found.sweep(name) for name in graph.order if graph.lowers(name)}
    if not any(sweep.approximations for sweep in made.values()):
        return made
    inner = {name: [v.problem for v in sweep.visits if v.total] for name, sweep in made.items()}
    return {
        name: replace(sweep, approximations=tuple(_left_out(made, inner, name)))
        for name, sweep in made.items()
    }


def _left_out(
    made: Mapping[str, Sweep], inner: Mapping[str, list[str]], upper: str
) -> dict[str, None]:
    """What a sweep leaves out itself, and what the total conditions on its way leave out."""
    known, waiting, texts = {upper}, [upper], dict[str, None]()
    for name in waiting:
        texts.update(dict.fromkeys(made[name].approximations))
        new = [other for other in inner[name] if other not in known]
        known.update(new)
        waiting += new
    return texts


class _Sweeps:
    """Sweeps of one graph: who answers to whom is found once."""

    def __init__(self, net: Numbered, *, can_be_total: bool = True) -> None:
        self._graph, self._net, self._none_total = net.graph, net, not can_be_total
        count, work = len(net.names), Work(MOST_WORK)
        self._answers = [0] * count
        self._total = 0
        self._settled: dict[int, Returns] = {}
        self._changed = False
        self._known = list(net.reads)
        self._implicit = sum(1 << number for number in range(count) if self._is_implicit(number))
        uppers = [number for number in range(count) if net.lowers[number]]
        self._ways = {number: Ways(number, net, work) for number in uppers}
        if can_be_total:
            for number in reversed(self._ways):
                self._learn(number, self._ways[number].by_reading.answers)

    def settle(self) -> None:
        """Find who answers to whom where conditions are total ones."""
        # Lower ones first: a problem asks for what those below it depend on, and who answers to
        # them. Only of hidden ones that come later is less known then than there is to know.
        for number in reversed(self._ways):
            before = self._answers[number], self._total, self._known[number]
            returns = self._settled[number] = self._returns(number)
            self._learn(number, returns.answers)
            if before != (self._answers[number], self._total, self._known[number]):
                self._changed = True

    def sweep(self, name: str) -> Sweep:
        """The order in which the hypergradient of a problem visits those that answer to it.

        These are the problems below it, and hidden ones: problems that it moves and that move a
        problem below it, without an l2u chain of their own to it. Whoever depends on a problem is
        visited before it.
        """
        upper = self._net.numbers[name]
        returns = self._settled.get(upper)
        if returns is None or (self._changed and self._ways[upper].hidden):
            returns = self._returns(upper)
        if self._none_total:
            self._answers[upper] = returns.answers
        place = {number: index for index, number in enumerate((*returns.order, upper))}
        names = self._net.names
        visits = tuple(
            Visit(
                names[number],
                tuple(
                    names[x] for x in sorted(members(returns.sends[number]), key=place.__getitem__)
                ),
                self._is_total(number, upper),
            )
            for number in returns.order
        )
        left_out = (*_partial(self._graph, visits), *self._circles(upper, returns))
        return Sweep(name, visits, left_out)

    def _is_implicit(self, number: int) -> bool:
        name = self._net.names[number]
        return isinstance(self._graph.problems[name].hypergradient, Implicit)

    def _learn(self, number: int, answers: int) -> None:
        """Note who answers to a problem, and what follows from it."""
        self._answers[number] = answers
        method = self._graph.problems[self._net.names[number]].hypergradient
        can_be = isinstance(method, Implicit) and method.curvature != "partial"
        total = can_be and answers and not answers & ~self._implicit
        self._total = self._total | 1 << number if total else self._total & ~(1 << number)
        self._known[number] = self._seen(number, 0)

    def _returns(self, upper: int) -> Returns:
        ways = self._ways[upper]
        if not self._total & ways.candidates:
            return ways.by_reading
        return ways.returns(self._total, lambda number: self._depends(number, upper))

    def _circles(self, upper: int, returns: Returns) -> Iterator[str]:
        """Rivals of which each depends on the other: a sweep goes through them one way only."""
        for number in returns.order:
            left = self._depends(number, upper) & returns.answers & ~returns.sends[number]
            name = self._net.names[number]
            for other in sorted(self._net.names[x] for x in members(left)):
                # That is partial curvature, of the one or the other, and said as such.
                if not self._is_nested(number, self._net.numbers[other]):
                    yield (
                        f"'{name}' and '{other}' depend on one another: how '{other}' moves "
                        f"'{name}' is left out"
                    )

    def _is_nested(self, one: int, other: int) -> bool:
        return bool(self._answers[one] >> other & 1 or self._answers[other] >> one & 1)

    def _depends(self, number: int, upper: int) -> int:
        """What the solution of a problem depends on, as `upper` sees it.

        What answers to a problem is a part of its total gradient, and so is what that depends on.
        But two leaders over one follower take each other as given: what both have below them tells
        `upper` nothing of the other.
        """
        if not self._is_total(number, upper):
            return self._net.reads[number]
        below = self._net.below[upper]
        return self._known[number] if below >> number & 1 else self._seen(number, below)

    def _seen(self, number: int, shared: int) -> int:
        known, answers = self._net.reads[number], self._answers[number]
        if not self._total >> number & 1:
            return known
        unshared = answers & ~shared
        for other in members(unshared) if unshared else ():
            known |= self._known[other]
        return known & ~answers & ~(1 << number)

    def _is_total(self, number: int, upper: int) -> bool:
        """Whether the condition of a problem can be, and shall be, on its total gradient.

        Leaders that answer to one another cannot both be followers: to either, the other's
        condition is a partial one.
        """
        return bool(self._total >> number & 1) and not self._answers[number] >> upper & 1


def _partial(graph: ProblemGraph, visits: Iterable[Visit]) -> Iterator[str]:
    for visit in visits:
        nested = graph.nested_lowers[visit.problem]
        if nested and not visit.total:
            yield (
                f"partial curvature of '{visit.problem}': how {', '.join(nested)} "
                f"answers to '{visit.problem}' is left out of its Hessian"
            )
