"""How often a loss is evaluated and differentiated: the unit in which methods cost."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Loop:
    """An inner loop: so many updates, each of so many accumulated passes."""

    updates: int
    accumulated: int = 1

    @property
    def passes(self) -> int:
        """Evaluations of the loss."""
        return self.updates * self.accumulated

    def last(self, updates: int | None) -> Loop:
        """The end of it; None for all."""
        fewer = self.updates if updates is None else min(updates, self.updates)
        return Loop(fewer, self.accumulated)


@dataclass(frozen=True)
class Evaluations:
    """Evaluations of one problem's loss and their derivatives, at most.

    Attributes:
        forward: evaluations.
        backward: first derivatives of one.
        second: products with second derivatives from a recorded gradient: HVPs, cross-derivatives
            and steps of a loop that reverse mode goes back through.
        second_each: more of them for each parameter of the problem.
        forward_each: products in forward mode for each parameter of the problems above.
    """

    forward: int = 0
    backward: int = 0
    second: int = 0
    second_each: int = 0
    forward_each: int = 0

    def __add__(self, other: Evaluations) -> Evaluations:
        return Evaluations(
            self.forward + other.forward,
            self.backward + other.backward,
            self.second + other.second,
            self.second_each + other.second_each,
            self.forward_each + other.forward_each,
        )

    def times(self, count: int) -> Evaluations:
        """So many times as much."""
        return Evaluations(
            self.forward * count,
            self.backward * count,
            self.second * count,
            self.second_each * count,
            self.forward_each * count,
        )


GRADIENT = Evaluations(forward=1, backward=1)
