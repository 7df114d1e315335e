"""higher: differentiable copies of modules and of torch's optimisers."""

from __future__ import annotations

from contextlib import ExitStack
from typing import final

import higher
import torch
from cases import RATE, Point
from installed import version
from torch import Tensor

from comparison.libraries.protocol import UnsupportedError, gradient
from comparison.methods import Unroll
from comparison.trials import Trial, View, evaluate, view


@final
class Higher:
    """Each lower problem's loop in turn, inside those of the problems that it reads."""

    @property
    def version(self) -> str:
        return version(higher.__file__, "higher")

    def hypergradient(self, trial: Trial) -> Tensor:
        if not isinstance(trial.method, Unroll):
            raise UnsupportedError("unrolling only")
        case = trial.case
        modules = {name: Point(point) for name, point in case.points.items()}
        upper = tuple(modules[case.upper].parameters())
        views: dict[str, View] = {case.upper: view(upper)}
        with ExitStack() as stack:
            for name in trial.lowers:
                module = modules[case.upper if trial.moves else name]
                optimizer = torch.optim.SGD(module.parameters(), lr=RATE)
                loop = higher.innerloop_ctx(module, optimizer, copy_initial_weights=False)
                views[name], steps = stack.enter_context(loop)
                for _ in range(trial.steps):
                    steps.step(evaluate(case, name, views))
            return gradient(evaluate(case, case.upper, views), upper)

    def remark(self, trial: Trial) -> str:
        return ""


LIBRARY = Higher()
