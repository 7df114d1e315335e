"""BOAT: bilevel, by named operations in a configuration."""

from __future__ import annotations

from typing import Any, final

import boat_torch
import torch
from boat_settings import losses, shared
from cases import RATE, Point, flat
from installed import version
from torch import Tensor, nn

from comparison.libraries.protocol import TwoLevels, UnsupportedError, two_levels
from comparison.methods import (
    ConjugateGradient,
    FiniteDifferences,
    FirstOrder,
    Method,
    Neumann,
    Unroll,
)
from comparison.trials import Trial, View, evaluate

LOSSES = losses(__name__)


@final
class Boat:
    """Gradient descent for the lower level (NGD), and one operation for the hypergradient."""

    @property
    def version(self) -> str:
        return version(boat_torch.__file__, "boat-torch")

    def hypergradient(self, trial: Trial) -> Tensor:
        names = two_levels(trial.case)
        upper = Point(trial.case.points[names.upper])
        lower = Point(trial.case.points[names.lower])
        problem = boat_torch.Problem(_config(trial, upper, lower), LOSSES)
        problem.build_ll_solver()
        problem.build_ul_solver()
        feed = {"trial": trial, "names": names}
        found, _ = problem.run_iter(feed, dict(feed), current_iter=0)
        return flat(found)

    def remark(self, trial: Trial) -> str:
        if isinstance(trial.method, ConjugateGradient):
            return "returns the iterate before the one that meets the tolerance"
        return ""


def lower_loss(feed: dict[str, Any], upper: nn.Module, lower: nn.Module, **kwargs: Any) -> Tensor:
    names: TwoLevels = feed["names"]
    return _loss(feed["trial"], names, names.lower, upper, lambda: lower(**kwargs))


def upper_loss(feed: dict[str, Any], upper: nn.Module, lower: nn.Module, **kwargs: Any) -> Tensor:
    names: TwoLevels = feed["names"]
    return _loss(feed["trial"], names, names.upper, upper, lambda: lower(**kwargs))


def _loss(trial: Trial, names: TwoLevels, of: str, upper: nn.Module, lower: View) -> Tensor:
    return evaluate(trial.case, of, {names.upper: upper, names.lower: lower})


def _config(trial: Trial, upper: Point, lower: Point) -> dict[str, Any]:
    rate = trial.method.alpha if isinstance(trial.method, Neumann) else RATE
    return {
        **shared(upper, lower, _operations(trial)),
        "lower_level_opt": torch.optim.SGD(lower.parameters(), lr=rate),
        "upper_level_opt": torch.optim.SGD(upper.parameters(), lr=RATE),
        "lower_iters": max(trial.steps, 1),
        "return_grad": True,
        "accumulate_grad": False,
        "copy_last_param": True,
        "device": "cpu",
        "CG": {"k": _iterations(trial.method), "tolerance": 1e-10},
        "FD": {"r": 1e-2},
    }


def _operations(trial: Trial) -> list[str]:
    match trial.method:
        case ConjugateGradient():
            return ["CG"]
        case Neumann():
            return ["NS"]
        case FiniteDifferences(scale="lr"):
            return ["FD"]
        case Unroll():
            return ["IAD"] if trial.moves else ["RAD"]
        case FirstOrder():
            return ["FOA", "IAD"]
        case _:
            raise UnsupportedError("no such method")


def _iterations(method: Method) -> int:
    return method.iterations if isinstance(method, ConjugateGradient | Neumann) else 10


LIBRARY = Boat()
