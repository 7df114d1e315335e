"""Methods that go through an inner loop, or look at its start alone."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from mlograph.language.methods.base import Count, Flag, Method, NonNegativeFloat
from mlograph.language.methods.evaluations import GRADIENT, Evaluations, Loop


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

    @property
    def back(self) -> int:
        """One."""
        return 1

    def reaches_start(self, steps: int) -> bool:
        """Whether the response flows through the start of a loop of so many steps."""
        return self.truncate is None or self.truncate >= steps

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """A step back through each of the loop's, which may have to be made again."""
        again = {"none": 0, "steps": 1, "sqrt": 2}[self.checkpoint]
        back = loop.last(self.truncate).passes
        return Evaluations(second=back) + GRADIENT.times(again * back)


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

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """A product a step for each parameter above."""
        return Evaluations(forward_each=loop.passes)


class FixedPoint(Method):
    """Truncated series of the optimiser's own step map Φ: w = Σ_{k=0..K} (Φ_xᵀ)^k v, K VJPs."""

    summary: ClassVar[str] = "fixed-point iterations of the optimiser's step"
    through_optimizer: ClassVar[bool] = True
    method: Literal["fixed_point"] = "fixed_point"
    iterations: Count = Field(default=10, description="vector-Jacobian products at most")
    tol: NonNegativeFloat = Field(default=1e-10, description="stop at ‖residual‖ ≤ tol·‖v‖")
    warm_start: Flag = Field(default=False, description="start from the previous solution")

    @property
    def back(self) -> int:
        """One an iteration, one with a warm start, and one that leads to the problems above."""
        return self.iterations + self.warm_start + 1

    def cost(self, loop: Loop, targets: int) -> Evaluations:
        """The graph of one step, and products with it."""
        return GRADIENT + Evaluations(second=self.back)
