"""Methods that evaluate losses at several points."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mlograph.language.methods.base import Count, Flag, Method, PositiveFloat
from mlograph.language.methods.evaluations import GRADIENT, Evaluations, Loop


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

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """A gradient on either side."""
        return GRADIENT.times(2)


class Sama(Method):
    """Inverse Hessian ≈ what one step of the lower optimiser makes of a gradient (SAMA)."""

    summary: ClassVar[str] = "one step of the optimiser for the inverse Hessian, differences"
    neglects: ClassVar[str] = "one step of the optimiser stands for the inverse Hessian"
    through_optimizer: ClassVar[bool] = True
    method: Literal["sama"] = "sama"
    epsilon: PositiveFloat = Field(
        default=0.01, description="parameters move by epsilon in all, along ±w"
    )

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """The step's gradient, and one on either side."""
        return GRADIENT.times(3)


class Penalty(Method):
    """First-order penalty: the lower problem is solved anew with a little of the upper loss."""

    summary: ClassVar[str] = "first-order penalty, gradients only"
    neglects: ClassVar[str] = "a penalty of finite weight, and a loss above that is taken as linear"
    method: Literal["penalty"] = "penalty"
    weight: PositiveFloat = Field(
        default=100.0,
        description="of the lower loss against the upper one, per length of its gradient; the bias "
        "falls with 1/weight, rounding errors grow with it",
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

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """A gradient a step, that of the solution, and those of warm starts."""
        sides = 2 if self.symmetric else 1
        return GRADIENT.times(1 + sides * (self.steps + self.warm_start))


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

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """Runs of the loop."""
        runs = (2 if self.antithetic else 1) * self.samples
        return GRADIENT.times(runs * loop.passes * targets)
