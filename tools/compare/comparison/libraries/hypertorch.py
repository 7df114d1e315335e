"""hypertorch (prolearner/hypertorch, imported as `hypergrad`): bilevel, by fixed-point maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import final

import hypergrad
from cases import RATE, flat
from hypergrad import CG, CG_normaleq, GradientDescent, fixed_point, neumann, reverse
from installed import version
from torch import Tensor

from comparison.libraries.protocol import (
    Parameters,
    TwoLevels,
    UnsupportedError,
    parameters,
    two_levels,
)
from comparison.methods import (
    ConjugateGradient,
    FixedPoint,
    Neumann,
    NormalConjugateGradient,
    Unroll,
)
from comparison.trials import Trial, evaluate, view

Loss = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


@final
class Hypertorch:
    """The fixed-point map is one step of its own gradient descent."""

    @property
    def version(self) -> str:
        return version(hypergrad.__file__, "hypergrad")

    def hypergradient(self, trial: Trial) -> Tensor:
        names = two_levels(trial.case)
        inner, outer = _loss(trial, names, names.lower), _loss(trial, names, names.upper)
        upper = parameters(trial.case.points[names.upper])
        step = GradientDescent(inner, RATE)
        if isinstance(trial.method, Unroll) and trial.moves:
            return _through_start(trial, step, upper, outer)
        points = [list(parameters(trial.case.points[names.lower]))]
        for _ in range(trial.steps):
            points.append(step(points[-1], upper, create_graph=False))
        match trial.method:
            case ConjugateGradient(iterations=iterations):
                return flat(CG(points[-1], upper, iterations, step, outer))
            case NormalConjugateGradient(iterations=iterations):
                return flat(CG_normaleq(points[-1], upper, iterations, step, outer))
            case Neumann(iterations=iterations, alpha=alpha):
                step = GradientDescent(inner, alpha)
                return flat(neumann(points[-1], upper, iterations, step, outer))
            case FixedPoint(iterations=iterations):
                return flat(fixed_point(points[-1], upper, iterations, step, outer))
            case Unroll(steps=steps):
                return flat(reverse(points, upper, [step] * steps, outer))
            case _:
                raise UnsupportedError("no such method")

    def remark(self, trial: Trial) -> str:
        if isinstance(trial.method, ConjugateGradient):
            return "returns the iterate before the one that meets the tolerance"
        return ""


def _loss(trial: Trial, names: TwoLevels, of: str) -> Loss:
    def loss(lower: Sequence[Tensor], upper: Sequence[Tensor]) -> Tensor:
        views = {names.lower: view(lower), names.upper: view(upper)}
        return evaluate(trial.case, of, views)

    return loss


def _through_start(trial: Trial, step: GradientDescent, upper: Parameters, outer: Loss) -> Tensor:
    """`reverse` holds the start point fixed; `reverse_unroll` goes through it."""
    params = [start.clone() for start in upper]
    for _ in range(trial.steps):
        params = step(params, upper)
    return flat(hypergrad.reverse_unroll(params, upper, outer))


LIBRARY = Hypertorch()
