"""The value of an upper loss, the lower solution being elsewhere: for losses without gradients."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from torch import Tensor

from mlograph.errors import NumericError
from mlograph.problem import Moment, Problem
from mlograph.randomness import untouched
from mlograph.trees import Vector
from mlograph.views import View


@final
@dataclass(frozen=True)
class Objective:
    """F(z, u): what an upper problem's loss was just evaluated on, with other parameters.

    The same batch and the same random numbers; parameters and buffers are never touched.

    Attributes:
        problem: the upper problem.
        moment: of its present pass.
        lower: the problem whose solution is replaced.
        directly: F moves with u as well: where autograd knows no ∂F/∂u, which it may yet have.
    """

    problem: Problem
    moment: Moment
    lower: str
    directly: bool

    def value(self, solution: Vector, moved: Mapping[str, Vector]) -> float:
        """F with the lower problem at `solution`, and what was `moved` to bring it there.

        Raises:
            NumericError: the loss never looks at the lower problem.
        """
        problem = self.problem
        seen = _Seen(problem.others[self.lower].at(solution))
        views: dict[str, View] = {self.lower: seen}
        if self.directly and problem.name in moved:
            views[problem.name] = problem.model.at(moved[problem.name])
        with untouched(problem.device), self.moment.random.replayed(problem.device):
            loss = problem.evaluate(problem.views(views), self.moment).loss
        if not seen.by:
            raise NumericError(
                f"the loss of '{problem.name}' never looks at '{self.lower}', "
                f"so the edge 'l2u: {self.lower} -> {problem.name}' has no effect"
            )
        return float(loss.detach())


@dataclass(frozen=True)
class _Seen:
    """A view that notes whether its parameters could be seen; implements `views.View`."""

    view: View
    by: list[str] = field(default_factory=list)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.by.append("call")
        return self.view(*args, **kwargs)

    def parameters(self) -> tuple[Tensor, ...]:
        self.by.append("parameters")
        return self.view.parameters()

    def named_parameters(self) -> Mapping[str, Tensor]:
        self.by.append("named_parameters")
        return self.view.named_parameters()

    def buffers(self) -> Mapping[str, Tensor]:
        return self.view.buffers()
