"""The cases of the tests as every library meets them, with what is right on each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from graphlib import TopologicalSorter
from inspect import signature
from typing import Any

import torch
from cases import CASES, Case, Maml
from torch import Tensor

from comparison.methods import (
    AT_REST,
    ENOUGH,
    IMPLICIT_MAML,
    MAML,
    ConjugateGradient,
    FirstOrder,
    Method,
    NormalConjugateGradient,
    Unroll,
)

# A problem's parameters, by call: what a loss of `cases` does with its arguments.
View = Callable[[], Tensor]


@dataclass(frozen=True)
class Trial:
    """A case for one method.

    Attributes:
        case: the problems and where they stand before anything moves.
        method: how the hypergradient is asked for.
        maml: what `case` was made of, if the inner loop starts from the upper problem; all
            problems of the others rest at their solutions.
    """

    case: Case
    method: Method
    maml: Maml | None = None

    @property
    def steps(self) -> int:
        """Steps of gradient descent before the hypergradient."""
        return self.method.steps if isinstance(self.method, Unroll) else self._loop

    @property
    def moves(self) -> bool:
        """Whether these steps lead anywhere."""
        return self._loop > 0

    @property
    def lowers(self) -> tuple[str, ...]:
        """The lower problems, each after those whose solutions it reads."""
        return order(self.case)[:-1]

    @property
    def promised(self) -> Tensor:
        """The hypergradient if the method does what it is meant to do."""
        if self.maml is None:
            return self.case.closed_form(self.method.inverse)
        match self.method:
            case Unroll():
                return self.maml.unrolled
            case FirstOrder():
                return self.maml.first_order
            case _:
                return self.maml.implicit(self.method.inverse)

    @property
    def true(self) -> Tensor:
        """The hypergradient itself; of implicit MAML, as if the loop had ended at its solution."""
        if self.maml is None:
            return total_derivative(self.case)
        if isinstance(self.method, Unroll | FirstOrder):
            return self.maml.unrolled
        return self.maml.implicit(torch.linalg.solve)

    @property
    def _loop(self) -> int:
        return 0 if self.maml is None else self.maml.steps


def trials() -> Iterator[Trial]:
    """Every case with every method. Partial curvature is an option of mlograph, so left out."""
    for case in CASES:
        if not case.partial:
            yield from (Trial(case, method) for method in AT_REST if _is_known(case, method))
    yield from (_of(Maml(), "MAML", method) for method in MAML)
    yield from (_of(Maml(weight=0.7), "implicit MAML", method) for method in IMPLICIT_MAML)


def _is_known(case: Case, method: Method) -> bool:
    """Whether the closed form holds.

    The loop of a nested problem moves by what unrolling finds for it, so it is never at rest. Its
    total Hessian contains solves, and few iterations of conjugate gradients are no linear map.
    """
    match method:
        case Unroll():
            return not case.nested
        case ConjugateGradient() | NormalConjugateGradient():
            return not case.nested or method.iterations >= ENOUGH
        case _:
            return True


def _of(maml: Maml, name: str, method: Method) -> Trial:
    def inner_loss(inner: View, outer: View) -> Tensor:
        task = 0.5 * inner() @ maml.A @ inner() - maml.b @ inner()
        return task + 0.5 * maml.weight * (inner() - outer()).square().sum()

    def outer_loss(inner: View) -> Tensor:
        return 0.5 * (inner() - maml.t).square().sum()

    case = Case(
        name,
        "outer",
        {"outer": maml.u, "inner": maml.u},
        {"outer": outer_loss, "inner": inner_loss},
        ("u2l: outer -> inner", "l2u: inner -> outer"),
        maml.implicit,
    )
    return Trial(case, method, maml)


def view(parts: Sequence[Tensor]) -> View:
    """What a loss calls to read a problem with these parameters."""
    return partial(torch.cat, tuple(parts))


def reads(case: Case, name: str) -> tuple[str, ...]:
    """The problems that a loss reads."""
    return tuple(signature(case.losses[name]).parameters)


def evaluate(case: Case, name: str, views: Mapping[str, View]) -> Tensor:
    """The loss of a problem."""
    arguments: dict[str, Any] = {read: views[read] for read in reads(case, name)}
    return case.losses[name](**arguments)


def edges(case: Case, kind: str) -> Iterator[tuple[str, str]]:
    """The source and the target of every edge of a kind, `u2l` or `l2u`."""
    for edge in case.edges:
        found, path = edge.split(": ")
        if found == kind:
            source, target = path.split(" -> ")
            yield source, target


def order(case: Case) -> tuple[str, ...]:
    """All problems, each after those whose solutions it reads; the upper one comes last."""
    sources: dict[str, set[str]] = {name: set() for name in case.points}
    for source, target in edges(case, "l2u"):
        sources[target].add(source)
    names = [name for name in TopologicalSorter(sources).static_order() if name != case.upper]
    return (*names, case.upper)


def total_derivative(case: Case) -> Tensor:
    """dL_upper/du at rest, by derivatives through the solution of each lower problem in turn.

    A solution is one Newton step from where the problem rests, on its total loss: the problems
    below it answer, however deeply they are nested. Second derivatives, which only nested cases
    need, are right where the losses are quadratic, as theirs are.
    """
    names = order(case)[::-1]

    def settled(values: dict[str, Tensor], name: str) -> Tensor:
        def total(value: Tensor) -> Tensor:
            return loss({**values, name: value}, name)

        rest = case.points[name]
        gradient, hessian = torch.func.grad(total)(rest), torch.func.hessian(total)(rest)
        step: Tensor = torch.linalg.solve(hessian, gradient)
        return rest - step

    def loss(values: dict[str, Tensor], of: str) -> Tensor:
        for name in names:
            if name not in values:
                values = {**values, name: settled(values, name)}
        return evaluate(case, of, {name: view((x,)) for name, x in values.items()})

    def outer(u: Tensor) -> Tensor:
        return loss({case.upper: u}, case.upper)

    found: Tensor = torch.func.grad(outer)(case.points[case.upper])
    return found
