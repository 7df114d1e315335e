"""mlograph: the methods of its own registry."""

from __future__ import annotations

from typing import Any, final

from cases import after_loops, bound
from installed import version
from torch import Tensor

import mlograph
from comparison.libraries.protocol import UnsupportedError
from comparison.methods import (
    ConjugateGradient,
    Exact,
    FiniteDifferences,
    FirstOrder,
    FixedPoint,
    Method,
    Neumann,
    NormalConjugateGradient,
    Unroll,
)
from comparison.trials import Trial
from mlograph.hypergradients import METHODS


@final
class Mlograph:
    """A case is a graph already."""

    @property
    def version(self) -> str:
        return version(mlograph.__file__, "mlograph")

    def hypergradient(self, trial: Trial) -> Tensor:
        options = _options(trial.method)
        if options["method"] not in METHODS:
            raise UnsupportedError("no such method")
        if trial.maml is not None:
            return trial.maml.hypergradient(options)
        if isinstance(trial.method, Unroll):
            return after_loops(bound(trial.case.graph(options, trial.steps)), trial.case.upper)
        return trial.case.hypergradient(options)

    def remark(self, trial: Trial) -> str:
        return ""


def _options(method: Method) -> dict[str, Any]:
    options: dict[str, Any]
    match method:
        case Exact():
            options = {"method": "exact"}
        case ConjugateGradient(iterations=iterations):
            options = {"method": "cg", "iterations": iterations}
        case NormalConjugateGradient(iterations=iterations):
            options = {"method": "normal_cg", "iterations": iterations}
        case Neumann(iterations=iterations, alpha=alpha):
            options = {"method": "neumann", "iterations": iterations, "alpha": alpha}
        case FixedPoint(iterations=iterations):
            # Here they begin at w = v, which is one iteration from zero.
            options = {"method": "fixed_point", "iterations": iterations - 1}
        case FiniteDifferences(scale=scale):
            options = {"method": "darts", "scale": scale}
        case Unroll():
            options = {"method": "unroll"}
        case FirstOrder():
            options = {"method": "first_order"}
    return options


LIBRARY = Mlograph()
