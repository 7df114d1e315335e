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
        only_start: it flows through nothing else.
        needs_start: it has no meaning without such a point.
        needs_symmetry: it takes the Jacobian of the problem's condition for symmetric.
        through_optimizer: a step of the problem's optimiser is differentiated.
        through_hyperparameters: the response also flows through options of the optimiser that are
            functions of problems above.
        records: what is recorded of the inner loop as it runs, for the method to go through it
            again. inputs: what its steps were functions of, so that the loop can be run again;
            graphs: more than that, so that its steps can be differentiated.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    summary: ClassVar[str]
    neglects: ClassVar[str] = ""
    through_start: ClassVar[bool] = False
    only_start: ClassVar[bool] = False
    needs_start: ClassVar[bool] = False
    needs_symmetry: ClassVar[bool] = False
    through_optimizer: ClassVar[bool] = False
    through_hyperparameters: ClassVar[bool] = False
    records: ClassVar[Literal["nothing", "inputs", "graphs"]] = "nothing"

    @property
    def by_value(self) -> bool:
        """Whether losses above are only evaluated: they need no gradient."""
        return False

    def reaches_start(self, steps: int) -> bool:
        """Whether the response flows through the start of a loop of so many steps."""
        return self.through_start


class Implicit(Method):
    """Base of the methods that take an inverse of the Jacobian of a problem's condition.

    The condition is Φ(θ, u) = ∂L/∂θ = 0; its Jacobian in θ is the Hessian H.
    """

    curvature: Literal["auto", "total", "partial"] = Field(
        default="auto",
        description="total: the Hessian contains how problems below answer; partial: it does not; "
        "auto: total where the methods below allow it",
    )


class Damped(Implicit):
    """Base of those that solve a linear system with it."""

    damping: NonNegativeFloat = Field(default=0.0, description="added to the diagonal of H")


class Iterative(Damped):
    """Base of those that come nearer to the solution step by step."""

    tol: NonNegativeFloat = Field(default=1e-10, description="stop at ‖residual‖ ≤ tol·‖v‖")
    warm_start: Flag = Field(default=False, description="start from the previous solution")


class Preconditioned(Iterative):
    """Base of those that a preconditioner may help."""

    precondition: Literal["none", "jacobi", "nystrom"] = Field(
        default="none",
        description="jacobi: by the diagonal of H; nystrom: by some random columns of it",
    )
    rank: Count | Literal["auto"] = Field(
        default="auto",
        description="Hessian-vector products for the preconditioner: random probes of the "
        "diagonal, or columns; auto: 10",
    )
    rho: PositiveFloat = Field(
        default=0.01, description="what nystrom adds to the diagonal in the preconditioner"
    )


class Exact(Damped):
    """Dense inverse: w = (H + damping·I)⁻¹ v. O(p²) memory, O(p³) time."""

    summary: ClassVar[str] = "dense inverse Hessian"
    method: Literal["exact"] = "exact"


class ConjugateGradient(Preconditioned):
    """Conjugate gradients on (H + damping·I) w = v: `iterations` HVPs at most."""

    summary: ClassVar[str] = "conjugate gradients on the Hessian"
    needs_symmetry: ClassVar[bool] = True
    method: Literal["cg"] = "cg"
    iterations: Count = Field(default=10, description="Hessian-vector products at most")


class Gmres(Preconditioned):
    """GMRES on (J + damping·I)ᵀ w = v, for a Jacobian J that need not be symmetric."""

    summary: ClassVar[str] = "generalised minimal residuals"
    method: Literal["gmres"] = "gmres"
    iterations: Count = Field(default=10, description="products at most")
    restart: Count = Field(default=20, description="iterations until it begins anew: memory")


class Bicgstab(Preconditioned):
    """BiCGSTAB on (J + damping·I)ᵀ w = v, for a Jacobian J that need not be symmetric."""

    summary: ClassVar[str] = "stabilised biconjugate gradients"
    method: Literal["bicgstab"] = "bicgstab"
    iterations: Count = Field(default=10, description="iterations at most, of two products")


class NormalConjugateGradient(Iterative):
    """Conjugate gradients on the normal equations of (J + damping·I)ᵀ w = v, for any J."""

    summary: ClassVar[str] = "conjugate gradients on the normal equations"
    method: Literal["normal_cg"] = "normal_cg"
    iterations: Count = Field(
        default=10, description="iterations at most, of a product with J and one with Jᵀ"
    )


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


class Neumann(Iterative):
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


class Sama(Method):
    """Inverse Hessian ≈ what one step of the lower optimiser makes of a gradient (SAMA)."""

    summary: ClassVar[str] = "one step of the optimiser for the inverse Hessian, differences"
    neglects: ClassVar[str] = "one step of the optimiser stands for the inverse Hessian"
    through_optimizer: ClassVar[bool] = True
    method: Literal["sama"] = "sama"
    epsilon: PositiveFloat = Field(
        default=0.01, description="parameters move by epsilon in all, along ±w"
    )


class Penalty(Method):
    """First-order penalty: the lower problem is solved anew with a little of the upper loss."""

    summary: ClassVar[str] = "first-order penalty, gradients only"
    neglects: ClassVar[str] = "a penalty of finite weight, and a loss above that is taken as linear"
    method: Literal["penalty"] = "penalty"
    weight: PositiveFloat = Field(
        default=100.0,
        description="of the lower loss against the upper one; the bias falls with 1/weight, "
        "rounding errors grow with it",
    )
    steps: Count = Field(default=10, description="gradient steps to the minimum of both")
    rate: PositiveFloat | Literal["lr"] = Field(
        default="lr", description="of these steps; lr: the lower learning rate"
    )
    symmetric: Flag = Field(
        default=False,
        description="add the upper loss and subtract it: twice the steps, a bias of 1/weight²",
    )
    warm_start: Flag = Field(default=False, description="start from the previous minimum")


class EvolutionStrategies(Method):
    """Evolution strategies: the inner loop is run again with what it reads moved at random."""

    summary: ClassVar[str] = "evolution strategies: the loop run again, moved at random"
    neglects: ClassVar[str] = "an estimate from random directions"
    through_start: ClassVar[bool] = True
    through_hyperparameters: ClassVar[bool] = True
    records: ClassVar[Literal["nothing", "inputs", "graphs"]] = "inputs"
    method: Literal["es"] = "es"
    estimate: Literal["jacobian", "objective"] = Field(
        default="jacobian",
        description="jacobian: how the solution moves, for losses above with a gradient; "
        "objective: how the loss above moves, which needs none",
    )
    samples: Count = Field(default=10, description="random directions")
    sigma: PositiveFloat = Field(default=0.01, description="standard deviation of each movement")
    antithetic: Flag = Field(
        default=True, description="move both ways: two runs of the loop a direction, less noise"
    )

    @property
    def by_value(self) -> bool:
        """Whether losses above are only evaluated: they need no gradient."""
        return self.estimate == "objective"


class FirstOrder(Method):
    """No cross-derivative: dz/du ≈ I along `start_from` (FOMAML), 0 elsewhere."""

    summary: ClassVar[str] = "first order: no cross-derivative"
    neglects: ClassVar[str] = (
        "the solution is taken to move with its loop's start, and with nothing else"
    )
    through_start: ClassVar[bool] = True
    only_start: ClassVar[bool] = True
    method: Literal["first_order"] = "first_order"


class Reptile(Method):
    """The way from the start of the inner loop to its end: θ_start − θ_T to `start_from`.

    What the loss of the upper problem says of the solution is only a metric.
    """

    summary: ClassVar[str] = "the way from the loop's start to its end"
    neglects: ClassVar[str] = (
        "the way from the loop's start to its end stands for what the losses above say of it"
    )
    through_start: ClassVar[bool] = True
    only_start: ClassVar[bool] = True
    needs_start: ClassVar[bool] = True
    method: Literal["reptile"] = "reptile"
    scale: Literal["one", "lr"] = Field(
        default="one", description="one: the way itself; lr: divided by the lower learning rate"
    )


class Unroll(Method):
    """Reverse mode through the recorded steps of the inner loop and its optimiser."""

    summary: ClassVar[str] = "reverse mode through the recorded steps"
    through_start: ClassVar[bool] = True
    through_optimizer: ClassVar[bool] = True
    through_hyperparameters: ClassVar[bool] = True
    records: ClassVar[Literal["nothing", "inputs", "graphs"]] = "graphs"
    method: Literal["unroll"] = "unroll"
    truncate: Count | None = Field(
        default=None, description="only so many last steps: less time and memory, and a bias"
    )
    checkpoint: Literal["none", "steps", "sqrt"] = Field(
        default="none",
        description="none: the graph of every step is kept; steps: only what each step began "
        "with, and its graph is made again; sqrt: that of every √T-th step, and two steps are "
        "made again for each",
    )

    def reaches_start(self, steps: int) -> bool:
        """Whether the response flows through the start of a loop of so many steps."""
        return self.truncate is None or self.truncate >= steps


class Forward(Method):
    """Forward mode through the steps of the inner loop, carried along as it runs.

    One derivative for each parameter of the problems above: at most `LARGEST`.
    """

    LARGEST: ClassVar[int] = 1000

    summary: ClassVar[str] = "forward mode through the steps"
    through_start: ClassVar[bool] = True
    through_optimizer: ClassVar[bool] = True
    through_hyperparameters: ClassVar[bool] = True
    records: ClassVar[Literal["nothing", "inputs", "graphs"]] = "graphs"
    method: Literal["forward"] = "forward"


class FixedPoint(Method):
    """Truncated series of the optimiser's own step map Φ: w = Σ_{k=0..K} (Φ_xᵀ)^k v, K VJPs."""

    summary: ClassVar[str] = "fixed-point iterations of the optimiser's step"
    through_optimizer: ClassVar[bool] = True
    method: Literal["fixed_point"] = "fixed_point"
    iterations: Count = Field(default=10, description="vector-Jacobian products at most")
    tol: NonNegativeFloat = Field(default=1e-10, description="stop at ‖residual‖ ≤ tol·‖v‖")
    warm_start: Flag = Field(default=False, description="start from the previous solution")


def _expand_name(value: object) -> object:
    return {"method": value} if isinstance(value, str) else value


METHODS: dict[str, type[Method]] = {
    "exact": Exact,
    "cg": ConjugateGradient,
    "gmres": Gmres,
    "bicgstab": Bicgstab,
    "normal_cg": NormalConjugateGradient,
    "neumann": Neumann,
    "nystrom": Nystrom,
    "identity": Identity,
    "soba": Soba,
    "darts": Darts,
    "sama": Sama,
    "penalty": Penalty,
    "es": EvolutionStrategies,
    "first_order": FirstOrder,
    "reptile": Reptile,
    "unroll": Unroll,
    "forward": Forward,
    "fixed_point": FixedPoint,
}

Hypergradient = Annotated[
    Exact
    | ConjugateGradient
    | Gmres
    | Bicgstab
    | NormalConjugateGradient
    | Neumann
    | Nystrom
    | Identity
    | Soba
    | Darts
    | Sama
    | Penalty
    | EvolutionStrategies
    | FirstOrder
    | Reptile
    | Unroll
    | Forward
    | FixedPoint,
    Field(discriminator="method"),
    BeforeValidator(_expand_name),
]
