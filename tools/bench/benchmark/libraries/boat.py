"""BOAT: bilevel, by named operations in a configuration."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import Any, final

import boat_torch
import torch
from boat_settings import losses, shared
from installed import version
from torch import Tensor, nn

from benchmark.libraries.protocol import Job, copy
from benchmark.methods import EPSILON, ConjugateGradient, Darts, Method, Neumann

LOSSES = losses(__name__)


@final
class Boat:
    """Gradient descent for the lower level (NGD), and one operation for the hypergradient."""

    @property
    def version(self) -> str:
        return version(boat_torch.__file__, "boat-torch")

    def session(self, job: Job) -> Running:
        return Running(job)

    def remark(self, job: Job) -> str:
        if isinstance(job.problem.method, Darts):
            return "takes the differences where the lower loop began"
        return ""


@final
class Running:
    """A bilevel problem between two updates of its upper level."""

    def __init__(self, job: Job) -> None:
        self._setting = job.setting
        self._above, self._below = job.upper(), job.lower()
        self._problem = boat_torch.Problem(_config(job, self._above, self._below), LOSSES)
        self._problem.build_ll_solver()
        self._problem.build_ul_solver()
        # Its finite differences are scaled by the learning rate, those of the others are not.
        scale = 1.0 / job.setting.rate if isinstance(job.problem.method, Darts) else 1.0
        feeds = [
            ({"job": job, "batch": one.lower}, {"job": job, "batch": one.upper, "scale": scale})
            for one in job.episodes()
        ]
        self._feeds = cycle(feeds)
        self._upper = [*self._above.parameters()]
        self._number = 0

    @property
    def upper(self) -> Sequence[Tensor]:
        return self._upper

    def update(self) -> None:
        lower, upper = zip(*islice(self._feeds, self._setting.passes), strict=True)
        if self._setting.restarts:
            copy(self._above.parameters(), self._below.parameters())
            self._problem.run_iter([*lower], [*upper], current_iter=self._number)
        else:
            self._problem.run_iter(lower[0], upper[0], current_iter=self._number)
        self._number += 1


def lower_loss(feed: dict[str, Any], upper: nn.Module, lower: nn.Module, **kwargs: Any) -> Tensor:
    job: Job = feed["job"]
    net = _net(lower, kwargs)
    return job.setting.lower_loss(net, upper, feed["batch"])


def upper_loss(feed: dict[str, Any], upper: nn.Module, lower: nn.Module, **kwargs: Any) -> Tensor:
    job: Job = feed["job"]
    loss = job.setting.upper_loss(_net(lower, kwargs), feed["batch"])
    return loss * (feed["scale"] / job.setting.passes)


@final
class _Patched:
    """A module of higher's with other parameters; implements `settings.Net`."""

    def __init__(self, module: Any, params: Sequence[Tensor]) -> None:
        self._module, self._params = module, params

    def __call__(self, inputs: Tensor) -> Tensor:
        found: Tensor = self._module(inputs, params=self._params)
        return found

    def parameters(self) -> Sequence[Tensor]:
        return self._params


def _net(lower: nn.Module, kwargs: dict[str, Any]) -> Any:
    return _Patched(lower, kwargs["params"]) if kwargs else lower


def _config(job: Job, upper: nn.Module, lower: nn.Module) -> dict[str, Any]:
    setting, method = job.setting, job.problem.method
    rate = setting.rate
    iterations = method.iterations if isinstance(method, ConjugateGradient | Neumann) else 10
    return {
        **shared(upper, lower, _operations(job)),
        "lower_level_opt": torch.optim.SGD(lower.parameters(), lr=rate),
        "upper_level_opt": job.optimizer(upper.parameters()),
        "lower_iters": setting.steps,
        "return_grad": False,
        "accumulate_grad": setting.restarts,
        "copy_last_param": not setting.restarts,
        "device": job.device,
        "CG": {"k": iterations, "tolerance": 1e-10},
        "FD": {"r": EPSILON},
    }


def _operations(job: Job) -> list[str]:
    method: Method = job.problem.method
    match method:
        case ConjugateGradient():
            return ["CG"]
        case Neumann():
            return ["NS"]
        case Darts():
            return ["FD"]
        case _:
            return ["IAD"] if job.setting.restarts else ["RAD"]


LIBRARY = Boat()
