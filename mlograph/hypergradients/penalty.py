"""The upper loss as a small addition to the lower one: gradients only."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import final

from mlograph import trees
from mlograph.hypergradients.differences import gradients_at
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.linear import Solution, Status
from mlograph.optimizers import rates
from mlograph.residual import filled
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Penalty:
    """λ(∂_t L(y, u) − ∂_t L(z, u)) with y = argmin L(y, u) + ⟨v/λ − ∂_z L(z, u), y⟩.

    The upper loss stands in for its linear part ⟨v, ·⟩ at z. λ is `weight`·‖v‖, so that y is pushed
    away from z by as much whether the upper loss is steep or almost solved; with a fixed λ, the
    difference would drown in rounding errors where v becomes small. From y = z, `steps` gradient
    steps of length `rate` y ← y − rate·(∂_y L(y, u) − ∂_z L(z, u) + v/λ) are made; on a quadratic,
    K of them give a Neumann series, −(∂²L/∂t∂θ)ᵀ rate Σ_{k<K} (I − rate·H)^k v. Where L is curved
    the bias is O(1/weight). `symmetric` takes λ/2 times the difference between what +v and −v lead
    to, with O(1/weight²).

    With `warm_start`, y begins where it ended for the last update, relative to z: one more
    gradient, two if symmetric.

    What is left of the gradient at z is subtracted, so that z counts as a solution, as it does for
    implicit methods: of a loop that is not at its end, λ times the rest would come in otherwise.

    All evaluations are of the same batch with the same random numbers, on copies: `steps` + 1
    gradients, 2·`steps` + 1 if symmetric, and no second derivative. Kwon et al. (2023, F2SA), Shen
    and Chen (2023, PBGD); symmetric: Chen et al. (2025, F2SA-p).
    """

    options: methods.Penalty

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        weight = self.options.weight
        behind = gradients_at(response, {}, (response.problem.name, *targets))
        rest = behind.pop(response.problem.name)
        known = filled({name: x for name, x in adjoint.items() if name in rest}, rest)
        size = trees.length(known) or 1.0
        push = trees.over(size * weight, known)
        start = self._start(response, push)
        problem, steps = response.problem, self.options.steps
        pace = rates(problem.optimizer, problem.model.params, self.options.rate)
        descent = _Descent(response, rest, pace, steps)
        solution, ahead = descent.run(start, push, targets)
        if self.options.symmetric:
            _, behind = descent.run(trees.scale(-1.0, start), trees.scale(-1.0, push), targets)
            weight /= 2.0
        factor = weight * size
        sent = {t: trees.scale(factor, trees.axpy(-1.0, behind[t], ahead[t])) for t in targets}
        return Pulled(sent, solution)

    def _start(self, response: Response, push: Vector) -> Vector:
        """Where the steps begin, as an offset from z: no offset where nothing pushes."""
        guess = response.guess if self.options.warm_start else None
        if guess is None or guess.keys() != push.keys() or not bool(trees.norm(push)):
            return {}
        return guess


@dataclass(frozen=True)
class _Descent:
    """Gradient steps of y on L(y) + ⟨push − rest, y⟩.

    Attributes:
        response: the lower problem at z.
        rest: ∂L/∂θ at z.
        rates: of every parameter.
        steps: how many.
    """

    response: Response
    rest: Vector
    rates: dict[str, float]
    steps: int

    def run(
        self, start: Vector, push: Vector, targets: tuple[str, ...]
    ) -> tuple[Solution, dict[str, Vector]]:
        """y − z, how near it is to the minimum, and ∂L of the targets at y."""
        offset, found = start or trees.zeros_like(push), dict[str, Vector]()
        # At z itself the gradient is known, and gone.
        slope = self._slope(start, push)[0] if start else push
        first = float(trees.norm(slope))
        for step in range(self.steps):
            offset = {name: x - self.rates[name] * slope[name] for name, x in offset.items()}
            slope, found = self._slope(offset, push, targets if step == self.steps - 1 else ())
        return self._judged(offset, slope, first, push), found

    def _judged(self, offset: Vector, slope: Vector, first: float, push: Vector) -> Solution:
        """On a quadratic, y − z solves H·(y − z) = −push, and what is left is the slope."""
        size, left = float(trees.norm(push)), float(trees.norm(slope))
        status = Status.MAX_ITERATIONS
        if not isfinite(left):
            status = Status.NON_FINITE
        elif left == 0.0:
            status = Status.CONVERGED
        elif left > max(first, size) * _GROWN:
            status = Status.DIVERGED
        return Solution(offset, status, self.steps, left / size if size else 0.0)

    def _slope(
        self, offset: Vector, push: Vector, targets: tuple[str, ...] = ()
    ) -> tuple[Vector, dict[str, Vector]]:
        own = self.response.problem.name
        found = gradients_at(self.response, offset, (own, *targets))
        return trees.add(trees.axpy(-1.0, self.rest, found.pop(own)), push), found


# Rounding errors alone do not make an iteration diverge.
_GROWN = 1.0 + 1e-3
