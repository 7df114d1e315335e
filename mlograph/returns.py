"""The ways on which a hypergradient comes back to one problem, found with sets of bits.

Problems are numbered from the top of the hierarchy down, and a set of them is an integer whose bit
i stands for number i: five hundred problems are met, cut or joined in one operation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from heapq import heappop, heappush

from mlograph.errors import Fault, GraphError
from mlograph.graph import ProblemGraph

Needs = Sequence[int]


class Work:
    """Counts the problems that are looked at, so that no graph takes for ever."""

    def __init__(self, most: int) -> None:
        self._left = most

    def spend(self, amount: int) -> None:
        """Note that so many were looked at.

        Raises:
            GraphError: these are too many.
        """
        self._left -= amount
        if self._left < 0:
            message = "too many problems depend on one another for a plan of their hypergradients"
            raise GraphError([Fault(("edges",), message, "fewer edges make it simpler")])


@dataclass(frozen=True)
class Numbered:
    """A graph whose problems are numbers, an upper one before all that lie below it."""

    graph: ProblemGraph

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The problem of each number."""
        return self.graph.order[::-1]

    @cached_property
    def numbers(self) -> dict[str, int]:
        """The number of each problem."""
        return {name: number for number, name in enumerate(self.names)}

    @cached_property
    def lowers(self) -> list[int]:
        """Of each problem, those whose solutions stand in its loss."""
        return [self._set(self.graph.lowers(name)) for name in self.names]

    @cached_property
    def reads(self) -> list[int]:
        """Of each problem, all that its loss may read besides its own."""
        return [self._set(self.graph.reads[name]) for name in self.names]

    @cached_property
    def readers(self) -> list[int]:
        """Of each problem, all whose losses may read it."""
        return turned(self.reads)

    @cached_property
    def below(self) -> list[int]:
        """Of each problem, all from which a chain of l2u edges leads to it."""
        found = [0] * len(self.names)
        for number in reversed(range(len(found))):
            for lower in members(self.lowers[number]):
                found[number] |= found[lower] | 1 << lower
        return found

    @cached_property
    def above(self) -> list[int]:
        """Of each problem, all to which a chain of l2u edges leads from it."""
        found = [0] * len(self.names)
        for number in range(len(found)):
            for lower in members(self.lowers[number]):
                found[lower] |= found[number] | 1 << number
        return found

    @cached_property
    def read_below(self) -> list[int]:
        """Of each problem, all that is read by those below it."""
        found = [0] * len(self.names)
        for number in reversed(range(len(found))):
            for lower in members(self.lowers[number]):
                found[number] |= found[lower] | self.reads[lower]
        return found

    def hidden(self, upper: int, work: Work) -> int:
        """Problems reached by reading on from those below; what lies above `upper` stands still."""
        known = self.above[upper] | self.below[upper] | 1 << upper
        found = waiting = self.read_below[upper] & ~known
        while waiting:
            new = self.reads[first(waiting)] & ~(known | found)
            waiting = waiting & (waiting - 1) | new
            found |= new
        work.spend(found.bit_count())
        return found

    def _set(self, names: tuple[str, ...] | frozenset[str]) -> int:
        found = 0
        for name in names:
            found |= 1 << self.numbers[name]
        return found


@dataclass(frozen=True)
class Returns:
    """How a hypergradient comes back to one problem.

    Attributes:
        order: the problems that answer to it, each before all that it sends to.
        sends: to whom each of them sends, as a set.
    """

    order: tuple[int, ...]
    sends: dict[int, int]

    @cached_property
    def answers(self) -> int:
        """The problems that answer, as a set."""
        found = 0
        for number in self.order:
            found |= 1 << number
        return found


class Ways:
    """The ways back to one problem, from those below it and from hidden ones.

    A problem sends to one that it depends on, forwards alone: to one that comes after it, where
    uppers come before lowers and hidden ones last, or to one that does not depend on it in turn,
    however indirectly. Two that depend on one another are in a circle, and who comes later sends
    nothing to who came before.

    Cost: as many steps as there are problems on the ways where all dependencies are the reads of
    the graph; else, as there are problems that those below depend on.
    """

    def __init__(self, upper: int, net: Numbered, work: Work) -> None:
        self._upper, self._net, self._work = upper, net, work
        self._below = net.below[upper]
        self.hidden = net.hidden(upper, work)
        self.candidates = self._below | self.hidden

    @cached_property
    def by_reading(self) -> Returns:
        """Each problem depends on what its loss reads."""
        # Whoever is a candidate is reached by reading on from those below.
        return self._returns(self._net.reads, self._net.readers.__getitem__, self.candidates)

    def returns(self, total: int, depends: Callable[[int], int]) -> Returns:
        """Each of the `total` problems depends on what `depends` says, others on what they read."""
        needs, own = list(self._net.reads), 0
        reached = waiting = self._net.lowers[self._upper]
        while waiting:
            number = first(waiting)
            if total >> number & 1:
                needs[number] = depends(number)
                own |= 1 << number
            new = needs[number] & self.candidates & ~reached
            waiting = waiting & (waiting - 1) | new
            reached |= new
        self._work.spend(reached.bit_count())
        return self._returns(needs, self._readers(needs, own), reached)

    def _readers(self, needs: Needs, own: int) -> Callable[[int], int]:
        """Who depends on a problem, where all but the problems `own` depend on what they read."""
        readers, inverse = self._net.readers, dict[int, int]()
        for number in members(own):
            for one in members(needs[number]) if needs[number] else ():
                inverse[one] = inverse.get(one, 0) | 1 << number
        return lambda number: readers[number] & ~own | inverse.get(number, 0)

    def _returns(self, needs: Needs, readers: Callable[[int], int], reached: int) -> Returns:
        """Those that are reached from below and lead back, forwards alone."""
        sends: dict[int, int] = {}
        queue = [self._upper]
        for goal in queue:
            self._work.spend(1)
            for number in members(self._senders(goal, readers(goal) & reached, needs, reached)):
                if number not in sends:
                    queue.append(number)
                sends[number] = sends.get(number, 0) | 1 << goal
        useful = 0
        for number in sends:
            useful |= 1 << number
        found = waiting = self._net.lowers[self._upper] & useful
        while waiting:
            new = sends[first(waiting)] & useful & ~found
            waiting = waiting & (waiting - 1) | new
            found |= new
        return self._ordered({number: sends[number] for number in members(found)})

    def _senders(self, goal: int, readers: int, needs: Needs, reached: int) -> int:
        """Those of the `readers` of a problem that come before it or that it does not need."""
        if goal == self._upper:
            return readers
        before = (1 << goal) - 1
        before = before & self._below if 1 << goal & self._below else before | self._below
        after = readers & ~before & ~needs[goal]
        if needs is self._net.reads:
            # It reads all below it, one after the other.
            after &= ~self._net.below[goal]
        return readers & before | self._apart(goal, after, needs, reached)

    def _apart(self, goal: int, others: int, needs: Needs, reached: int) -> int:
        """Those of the `others` that a problem does not need, however indirectly."""
        if not others:
            return 0
        found = waiting = needs[goal] & reached
        while waiting and others & ~found:
            new = needs[first(waiting)] & reached & ~found
            waiting = waiting & (waiting - 1) | new
            found |= new
        self._work.spend(found.bit_count())
        return others & ~found

    def _ordered(self, sends: dict[int, int]) -> Returns:
        """Whoever sends to a problem comes before it; else uppers first and hidden ones last."""
        order = sorted(sends, key=lambda number: (self.hidden >> number & 1, number))
        return Returns(tuple(_in_order(order, sends)), sends)


def _in_order(numbers: list[int], sends: Mapping[int, int]) -> list[int]:
    """`numbers`, each before all that it sends to, and else as they stand (Kahn, 1962)."""
    seen = 0
    for number in numbers:
        if sends[number] & seen:
            break
        seen |= 1 << number
    else:
        return numbers
    place = {number: index for index, number in enumerate(numbers)}
    waiting = dict.fromkeys(numbers, 0)
    inside = {number: [x for x in members(sends[number]) if x in place] for number in numbers}
    for goals in inside.values():
        for goal in goals:
            waiting[goal] += 1
    ready = [place[number] for number, count in waiting.items() if not count]
    order: list[int] = []
    while ready:
        number = numbers[heappop(ready)]
        order.append(number)
        for goal in inside[number]:
            waiting[goal] -= 1
            if not waiting[goal]:
                heappush(ready, place[goal])
    assert len(order) == len(numbers)
    return order


def first(numbers: int) -> int:
    """The least member of a set that is not empty."""
    return (numbers & -numbers).bit_length() - 1


def members(numbers: int) -> Iterator[int]:
    """The members of a set, the least first."""
    while numbers:
        yield (numbers & -numbers).bit_length() - 1
        numbers &= numbers - 1


def turned(sets: list[int]) -> list[int]:
    """For each number the set of those whose sets hold it."""
    found = [0] * len(sets)
    for number, one in enumerate(sets):
        for member in members(one):
            found[member] |= 1 << number
    return found
