"""How a hypergradient is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

# ‖step‖ of central differences, as Betty, BOAT and mlograph have it by default.
EPSILON = 0.01


@final
@dataclass(frozen=True)
class Darts:
    """The identity for H⁻¹, and the cross-derivative by central differences."""


@final
@dataclass(frozen=True)
class ConjugateGradient:
    """`iterations` of conjugate gradients from zero."""

    iterations: int


@final
@dataclass(frozen=True)
class Neumann:
    """α Σ_{k ≤ iterations} (I − αH)^k."""

    iterations: int
    alpha: float


@final
@dataclass(frozen=True)
class Unroll:
    """Reverse mode through all steps of the lower loop."""


Method = Darts | ConjugateGradient | Neumann | Unroll
