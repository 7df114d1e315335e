"""The options of every hypergradient method; the methods themselves are in `hypergradients/`.

Options stand here, apart from the code that uses them, so that a graph is checked without torch.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

PositiveFloat = Annotated[float, Field(gt=0, strict=True, allow_inf_nan=False)]
NonNegativeFloat = Annotated[float, Field(ge=0, strict=True, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=1, strict=True)]
Flag = Annotated[bool, Field(strict=True)]


class Method(BaseModel):
    """Base of all methods' options.

    Attributes:
        summary: what the method computes, in a few words, for plans and diagrams.
        neglects: what it leaves out even where everything converges, in words; empty if nothing.
        through_start: the response also flows through the point an inner loop started from.
        records: the inner loop is recorded as it runs, for the method to go through it again.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: ClassVar[str]
    neglects: ClassVar[str] = ""
    through_start: ClassVar[bool] = False
    records: ClassVar[bool] = False


class Implicit(Method):
    """Base of the methods that solve a linear system with the Jacobian of a problem's condition.

    The condition is Φ(θ, u) = ∂L/∂θ = 0; its Jacobian in θ is the Hessian H.
    """

    damping: NonNegativeFloat = Field(default=0.0, description="added to the diagonal of H")
    curvature: Literal["auto", "total", "partial"] = Field(
        default="auto",
        description="total: the Hessian contains how problems below answer; partial: it does not; "
        "auto: total where the methods below allow it",
    )


class Exact(Implicit):
    """Dense inverse: w = (H + damping·I)⁻¹ v. O(p²) memory, O(p³) time."""

    summary: ClassVar[str] = "dense inverse Hessian"
    method: Literal["exact"] = "exact"


class ConjugateGradient(Implicit):
    """Conjugate gradients on (H + damping·I) w = v: `iterations` HVPs at most."""

    summary: ClassVar[str] = "conjugate gradients on the Hessian"
    method: Literal["cg"] = "cg"
    iterations: Count = Field(default=10, description="Hessian-vector products at most")
    tol: NonNegativeFloat = Field(default=1e-10, description="stop at ‖residual‖ ≤ tol·‖v‖")
    warm_start: Flag = Field(default=False, description="start from the previous solution")


class Neumann(Implicit):
    """Truncated Neumann series: w = α Σ_{k=0..K} (I − α(H + damping·I))^k v, K HVPs."""

    summary: ClassVar[str] = "truncated Neumann series of the inverse Hessian"
    method: Literal["neumann"] = "neumann"
    iterations: Count = Field(default=10, description="Hessian-vector products at most")
    alpha: PositiveFloat | Literal["auto"] = Field(
        default="auto", description="step; auto: 1/λmax, estimated by power iteration"
    )


class Darts(Method):
    """Inverse Hessian ≈ scale·I; the cross-derivative by central differences, no second order."""

    summary: ClassVar[str] = "identity for the inverse Hessian, central differences"
    neglects: ClassVar[str] = "the identity stands for the inverse Hessian"
    method: Literal["darts"] = "darts"
    scale: Literal["one", "lr"] = Field(
        default="one", description="one: as in Betty; lr: the lower learning rate, as in the paper"
    )
    epsilon: PositiveFloat = Field(
        default=0.01, description="parameters move by epsilon in all, along ±v"
    )


class FirstOrder(Method):
    """No cross-derivative: dz/du ≈ I along `start_from` (FOMAML), 0 elsewhere."""

    summary: ClassVar[str] = "first order: no cross-derivative"
    neglects: ClassVar[str] = (
        "the solution is taken to move with its loop's start, and with nothing else"
    )
    through_start: ClassVar[bool] = True
    method: Literal["first_order"] = "first_order"


class Unroll(Method):
    """Reverse mode through every recorded step of the inner loop and its optimiser."""

    summary: ClassVar[str] = "reverse mode through the recorded steps"
    through_start: ClassVar[bool] = True
    records: ClassVar[bool] = True
    method: Literal["unroll"] = "unroll"


def _expand_name(value: object) -> object:
    return {"method": value} if isinstance(value, str) else value


METHODS: dict[str, type[Method]] = {
    "exact": Exact,
    "cg": ConjugateGradient,
    "neumann": Neumann,
    "darts": Darts,
    "first_order": FirstOrder,
    "unroll": Unroll,
}

Hypergradient = Annotated[
    Exact | ConjugateGradient | Neumann | Darts | FirstOrder | Unroll,
    Field(discriminator="method"),
    BeforeValidator(_expand_name),
]
