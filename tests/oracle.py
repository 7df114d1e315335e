"""Nested differentiable solves: hypergradients by their definition, without any sweep.

The solution of a problem is Newton's method on its total gradient, in which everything that it
reads is solved for again, and so on down. The losses are tilted so that every problem rests at a
point that is known beforehand; from there, s Newton steps have 2^s − 1 derivatives of the solution
right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from cases import numbers
from torch import Tensor

from mlograph.trees import Vector

SIZE = 2


@dataclass(frozen=True)
class Oracle:
    """Random curved losses on a given graph.

    L_j = 2‖x‖² + (x·x)²/10 + Σ_k (xᵀ tanh(B_jk y_k) + tanh(x·C_jk y_k)/2) − tilt_jᵀ x, over the
    problems k that j reads.

    Attributes:
        reads: what each problem reads, lower problems first.
        seed: of all numbers.
    """

    reads: Mapping[str, tuple[str, ...]]
    seed: int

    @cached_property
    def points(self) -> dict[str, Tensor]:
        """Where every problem rests."""
        return {n: 0.5 * numbers(SIZE, seed=self.seed + i) for i, n in enumerate(self.reads)}

    @cached_property
    def tilts(self) -> dict[str, Tensor]:
        """What makes the total gradient of every problem but the last vanish at its point."""
        tilts: dict[str, Tensor] = {}
        *lowers, top = self.reads
        for name in lowers:
            x = self.points[name].clone().requires_grad_()
            # Whoever does not answer to the problem is at its own point as well.
            loss = self._total(name, x, {}, {**tilts, name: torch.zeros(SIZE).double()}, 0)
            tilts[name] = torch.autograd.grad(loss, x)[0]
        return {**tilts, top: torch.zeros(SIZE).double()}

    def loss(
        self, name: str, x: Tensor, others: Mapping[str, Tensor], tilts: Mapping[str, Tensor]
    ) -> Tensor:
        total = 2 * x @ x + 0.1 * (x @ x).square() - tilts[name] @ x
        for other in self.reads[name]:
            pull, bend = (self._matrix(name, other, which) @ others[other] for which in (0, 1))
            total = total + x @ torch.tanh(pull) + 0.5 * torch.tanh(x @ bend)
        return total

    def hypergradient(self, top: str) -> Tensor:
        """dL/dθ of a problem, all below it answering."""
        x = self.points[top].clone().requires_grad_()
        return torch.autograd.grad(self._total(top, x, {}, self.tilts, 0), x)[0]

    def _total(
        self, name: str, x: Tensor, known: Vector, tilts: Mapping[str, Tensor], order: int
    ) -> Tensor:
        """The loss at x, its gradient right up to derivatives of an order, all others solved for.

        Higher problems are solved first: those below them answer to them.
        """
        known, moving = {**known, name: x}, {name}
        sought = self._reach(name, known) - known.keys()
        for other in [one for one in reversed([*self.reads]) if one in sought]:
            # The slope of what moves with x is a part of the gradient.
            moves = not moving.isdisjoint(self._reach(other, known))
            solution = self._solution(other, known, tilts, order + moves)
            known, moving = {**known, other: solution}, moving | ({other} if moves else set())
        return self.loss(name, x, known, tilts)

    def _solution(
        self, name: str, known: Vector, tilts: Mapping[str, Tensor], order: int
    ) -> Tensor:
        x = self.points[name].clone().requires_grad_()
        if name not in tilts:  # Above all whose tilts are sought: it stands still.
            return x
        for _ in range(order.bit_length()):
            loss = self._total(name, x, known, tilts, order)
            (gradient,) = torch.autograd.grad(loss, x, create_graph=True)
            rows = [torch.autograd.grad(g, x, create_graph=True)[0] for g in gradient]
            x = x - torch.linalg.solve(torch.stack(rows), gradient)
        return x

    def _reach(self, name: str, known: Vector) -> set[str]:
        """What a problem's loss depends on, others answering where they are not known."""
        reached = [*self.reads[name]]
        for one in reached:
            if one not in known:
                reached += [x for x in self.reads[one] if x not in reached]
        return {*reached}

    def _matrix(self, name: str, other: str, which: int) -> Tensor:
        place = [*self.reads].index(name) * 100 + [*self.reads].index(other) * 2 + which
        return 0.6 * numbers(SIZE, SIZE, seed=self.seed + 1000 + place)
