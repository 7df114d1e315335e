"""What is compared: methods, each with what it promises to take for H⁻¹v."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

from cases import RATE, Inverse, inverse, krylov, multiple, series
from torch import Tensor


@final
@dataclass(frozen=True)
class Exact:
    """The dense inverse."""

    @property
    def inverse(self) -> Inverse:
        return inverse

    def __str__(self) -> str:
        return "exact"


@final
@dataclass(frozen=True)
class ConjugateGradient:
    """Conjugate gradients from zero on H w = v."""

    iterations: int

    @property
    def inverse(self) -> Inverse:
        return lambda H, v: krylov(min(self.iterations, len(v)))(H, v)

    def __str__(self) -> str:
        return f"cg, {self.iterations} iterations"


@final
@dataclass(frozen=True)
class NormalConjugateGradient:
    """Conjugate gradients from zero on HᵀH w = Hᵀ v."""

    iterations: int

    @property
    def inverse(self) -> Inverse:
        def nearest(H: Tensor, v: Tensor) -> Tensor:
            return krylov(min(self.iterations, len(v)))(H.T @ H, H.T @ v)

        return nearest

    def __str__(self) -> str:
        return f"cg on the normal equations, {self.iterations} iterations"


@final
@dataclass(frozen=True)
class Neumann:
    """The truncated Neumann series: one term more than Hessian products."""

    iterations: int
    alpha: float

    @property
    def inverse(self) -> Inverse:
        return series(self.alpha, self.iterations + 1)

    def __str__(self) -> str:
        return f"neumann, {self.iterations} iterations, α = {self.alpha:g}"


@final
@dataclass(frozen=True)
class FixedPoint:
    """w ← Φ_xᵀ w + v from w = 0, with Φ one step of gradient descent."""

    iterations: int

    @property
    def inverse(self) -> Inverse:
        return series(RATE, self.iterations)

    def __str__(self) -> str:
        return f"fixed point, {self.iterations} iterations"


@final
@dataclass(frozen=True)
class FiniteDifferences:
    """A multiple of the identity for H⁻¹, the cross-derivative by central differences."""

    scale: Literal["one", "lr"]

    @property
    def inverse(self) -> Inverse:
        return multiple(1.0 if self.scale == "one" else RATE)

    def __str__(self) -> str:
        return f"finite differences (darts), scale {self.scale}"


@final
@dataclass(frozen=True)
class Unroll:
    """Reverse mode through a loop of gradient descent."""

    steps: int

    @property
    def inverse(self) -> Inverse:
        return series(RATE, self.steps)

    def __str__(self) -> str:
        return f"unroll, {self.steps} steps"


@final
@dataclass(frozen=True)
class FirstOrder:
    """The gradient where the loop ended, applied where it began."""

    @property
    def inverse(self) -> Inverse:
        return multiple(0.0)

    def __str__(self) -> str:
        return "first order"


Method = (
    Exact
    | ConjugateGradient
    | NormalConjugateGradient
    | Neumann
    | FixedPoint
    | FiniteDifferences
    | Unroll
    | FirstOrder
)

# As many iterations as the largest lower problem has parameters.
ENOUGH = 5

AT_REST: tuple[Method, ...] = (
    Exact(),
    ConjugateGradient(3),
    ConjugateGradient(ENOUGH),
    NormalConjugateGradient(3),
    Neumann(3, 0.1),
    FixedPoint(4),
    FiniteDifferences("one"),
    FiniteDifferences("lr"),
    Unroll(4),
)
MAML: tuple[Method, ...] = (Unroll(3), FirstOrder())
IMPLICIT_MAML: tuple[Method, ...] = (Exact(), ConjugateGradient(2))
