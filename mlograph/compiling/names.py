"""What tells one compiled region of a problem from another."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import final

from mlograph.compiling.region import Derivative, form, shapes
from mlograph.problem import Problem


@final
class Names:
    """Names the derivatives of a problem, in the same words in every process.

    Args:
        problem: whose derivatives they are.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem
        self._known: dict[Hashable, str] = {}

    def name(self, kind: str, asked: Derivative) -> str:
        """All that a region is made for: what of, by what, on which shapes and in which modes."""
        problem = self._problem
        modes = [m.module.training for m in (problem.model, *problem.others.values())]
        # Asked for each time, and put in words once.
        terms = (id(term) for term in asked.terms)
        short = (kind, *asked.wanted, *terms, shapes(asked.moment.batch), *modes)
        if short not in self._known:
            self._known[short] = self._words(kind, asked, modes)
        return self._known[short]

    def _words(self, kind: str, asked: Derivative, modes: Sequence[bool]) -> str:
        terms, by = self._problem.terms, [*asked.wanted]
        numbers = [i for i, term in enumerate(terms) if any(term is x for x in asked.terms)]
        on = form(asked.moment.batch)
        return f"{kind} by {by} of terms {numbers} on {on}, training {modes}"


def are_alike(name: str, other: str) -> bool:
    """Whether two names differ at most in the shapes and modes."""
    return name.partition(" on ")[0] == other.partition(" on ")[0]
