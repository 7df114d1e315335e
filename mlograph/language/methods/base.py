"""What the options of all methods have in common."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from mlograph.language.methods.evaluations import GRADIENT, Evaluations, Loop

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

    @property
    def compilable(self) -> bool:
        """Whether it takes products of a recorded gradient that may be a compiled one."""
        return False

    @property
    def back(self) -> int:
        """Products with the derivatives of a recorded step, if they may be those of a compiled one.

        They may if all go back through the step; forward mode takes derivatives of such products.
        """
        return 0

    def reaches_start(self, steps: int) -> bool:
        """Whether the response flows through the start of a loop of so many steps."""
        return self.through_start

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """What one pull back to so many problems takes, at most, beside the loop as it runs."""
        return Evaluations()


class Implicit(Method):
    """Base of the methods that take an inverse of the Jacobian of a problem's condition.

    The condition is Φ(θ, u) = ∂L/∂θ = 0; its Jacobian in θ is the Hessian H.
    """

    curvature: Literal["auto", "total", "partial"] = Field(
        default="auto",
        description="total: the Hessian contains how problems below answer; partial: it does not; "
        "auto: total where the methods below allow it",
    )

    @property
    def compilable(self) -> bool:
        """Whether its products can be those of a compiled gradient, which go one way."""
        return True

    @property
    def products(self) -> int:
        """Products with H that the linear system takes, at most."""
        return 0

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """The recorded gradient, the products, and the cross-derivatives of all targets at once."""
        return GRADIENT + Evaluations(second=self.products + 1)


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

    @property
    def preparation(self) -> int:
        """Products before the first iteration."""
        probes = 10 if self.rank == "auto" else self.rank
        return self.warm_start + (0 if self.precondition == "none" else probes)
