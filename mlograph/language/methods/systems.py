"""Methods that take an inverse of the Jacobian of a problem's condition."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from mlograph.language.methods.base import (
    Count,
    Damped,
    Flag,
    Implicit,
    Iterative,
    NonNegativeFloat,
    PositiveFloat,
    Preconditioned,
)
from mlograph.language.methods.evaluations import Evaluations, Loop


class Exact(Damped):
    """Dense inverse: w = (H + damping·I)⁻¹ v. O(p²) memory, O(p³) time."""

    summary: ClassVar[str] = "dense inverse Hessian"
    method: Literal["exact"] = "exact"

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """One product a parameter."""
        return super().cost(loop, targets) + Evaluations(second_each=1)


class ConjugateGradient(Preconditioned):
    """Conjugate gradients on (H + damping·I) w = v: `iterations` HVPs at most."""

    summary: ClassVar[str] = "conjugate gradients on the Hessian"
    needs_symmetry: ClassVar[bool] = True
    method: Literal["cg"] = "cg"
    iterations: Count = Field(default=10, description="Hessian-vector products at most")

    @property
    def products(self) -> int:
        """One an iteration, and to prepare."""
        return self.iterations + self.preparation


class Gmres(Preconditioned):
    """GMRES on (J + damping·I)ᵀ w = v, for a Jacobian J that need not be symmetric."""

    summary: ClassVar[str] = "generalised minimal residuals"
    method: Literal["gmres"] = "gmres"
    iterations: Count = Field(default=10, description="products at most")
    restart: Count = Field(default=20, description="iterations until it begins anew: memory")

    @property
    def products(self) -> int:
        """One an iteration, and to prepare."""
        return self.iterations + self.preparation


class Bicgstab(Preconditioned):
    """BiCGSTAB on (J + damping·I)ᵀ w = v, for a Jacobian J that need not be symmetric."""

    summary: ClassVar[str] = "stabilised biconjugate gradients"
    method: Literal["bicgstab"] = "bicgstab"
    iterations: Count = Field(default=10, description="iterations at most, of two products")

    @property
    def products(self) -> int:
        """Two an iteration, and to prepare."""
        return 2 * self.iterations + self.preparation


class NormalConjugateGradient(Iterative):
    """Conjugate gradients on the normal equations of (J + damping·I)ᵀ w = v, for any J."""

    summary: ClassVar[str] = "conjugate gradients on the normal equations"
    method: Literal["normal_cg"] = "normal_cg"
    iterations: Count = Field(
        default=10, description="iterations at most, of a product with J and one with Jᵀ"
    )

    @property
    def compilable(self) -> bool:
        """Its products go both ways: those with J are derivatives of those with Jᵀ."""
        return False

    @property
    def products(self) -> int:
        """Two an iteration, one before, and one with a warm start."""
        return 2 * self.iterations + 1 + self.warm_start

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """A product with Jᵀ is that of reverse mode, and one with J is its derivative."""
        return super().cost(loop, targets) + Evaluations(second=self.iterations + 1)


class Nystrom(Damped):
    """w = (H_r + (rho + damping)·I)⁻¹ v, with H_r from `rank` random columns of H."""

    summary: ClassVar[str] = "low-rank Hessian from random columns"
    neglects: ClassVar[str] = "some columns of the Hessian stand for all of it, rho is added to it"
    needs_symmetry: ClassVar[bool] = True
    method: Literal["nystrom"] = "nystrom"
    rank: Count = Field(default=10, description="columns of H, a product each")
    rho: PositiveFloat = Field(default=0.01, description="added to the diagonal of H_r")
    seed: Annotated[int, Field(ge=0, strict=True)] = Field(
        default=0, description="which columns are drawn; always the same ones"
    )

    @property
    def products(self) -> int:
        """One a column, and one for the residual."""
        return self.rank + 1


class Identity(Implicit):
    """w = scale·v with the exact cross-derivative: one step of gradient descent, differentiated."""

    summary: ClassVar[str] = "identity for the inverse Hessian"
    neglects: ClassVar[str] = "the identity stands for the inverse Hessian"
    method: Literal["identity"] = "identity"
    scale: PositiveFloat | Literal["lr"] = Field(
        default="lr", description="for the inverse Hessian; lr: the lower learning rate"
    )


class Soba(Damped):
    """Gradient steps on (H + damping·I) w = v that go on from one update to the next."""

    summary: ClassVar[str] = "single loop: gradient steps on the linear system"
    method: Literal["soba"] = "soba"
    preset: Literal["soba", "amigo", "stocbio"] = Field(
        default="soba",
        description="soba: 1 step from the last w; amigo: 10 steps from the last w; "
        "stocbio: 10 steps from zero",
    )
    steps: Count | Literal["preset"] = Field(
        default="preset", description="steps from one w to the next, a product each"
    )
    rate: PositiveFloat | Literal["lr"] = Field(
        default="lr", description="of these steps; lr: the lower learning rate"
    )
    tol: NonNegativeFloat = Field(default=1e-10, description="stop at ‖residual‖ ≤ tol·‖v‖")
    warm_start: Flag | Literal["preset"] = Field(
        default="preset", description="start from the previous solution"
    )

    @property
    def count(self) -> int:
        """How many steps are made."""
        if self.steps != "preset":
            return self.steps
        return 1 if self.preset == "soba" else 10

    @property
    def is_warm(self) -> bool:
        """Whether they begin where the last ones ended."""
        return self.preset != "stocbio" if self.warm_start == "preset" else self.warm_start

    @property
    def products(self) -> int:
        """One a step."""
        return self.count


class Neumann(Iterative):
    """Truncated Neumann series: w = α Σ_{k=0..K} (I − α(H + damping·I))^k v, K HVPs."""

    summary: ClassVar[str] = "truncated Neumann series of the inverse Hessian"
    method: Literal["neumann"] = "neumann"
    iterations: Count = Field(default=10, description="Hessian-vector products at most")
    alpha: PositiveFloat | Literal["auto"] = Field(
        default="auto", description="step; auto: 1/λmax, estimated by power iteration"
    )

    @property
    def products(self) -> int:
        """One an iteration, ten for the step's length, one with a warm start."""
        return self.iterations + self.warm_start + (10 if self.alpha == "auto" else 0)
