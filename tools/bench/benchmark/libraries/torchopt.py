"""TorchOpt: meta-optimisers and implicit solvers, composed by autograd."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import Any, final

import torch
import torchopt
from installed import version
from torch import Tensor
from torchopt.diff.implicit import custom_root
from torchopt.linear_solve import solve_cg, solve_inv

from benchmark.libraries.protocol import At, Job, Session, UnsupportedError, copy
from benchmark.methods import ConjugateGradient, Method, Neumann, Unroll
from benchmark.settings import Batch

Parameters = tuple[Tensor, ...]


@final
class TorchOpt:
    """A loss is differentiated by the upper parameters, through `custom_root` or `MetaSGD`."""

    @property
    def version(self) -> str:
        return version(torchopt.__file__, "torchopt")

    def session(self, job: Job) -> Session:
        if isinstance(job.problem.method, Unroll):
            return Unrolled(job)
        return Implicit(job, _solver(job.problem.method))

    def remark(self, job: Job) -> str:
        return ""


@final
class Unrolled:
    """`MetaSGD` replaces a module's parameters by the results of its steps."""

    def __init__(self, job: Job) -> None:
        self._setting = job.setting
        self._episodes = cycle(job.episodes())
        self._above = job.upper()
        self._below = self._above if job.setting.restarts else job.lower()
        self._upper = [*self._above.parameters()]
        self._optimizer = job.optimizer(self._upper)
        self._inner = torchopt.MetaSGD(self._below, lr=job.setting.rate)

    @property
    def upper(self) -> Sequence[Tensor]:
        return self._upper

    def update(self) -> None:
        setting = self._setting
        self._optimizer.zero_grad()
        for episode in islice(self._episodes, setting.passes):
            start = torchopt.extract_state_dict(self._below, by="reference")
            state = torchopt.extract_state_dict(self._inner, by="reference")
            for _ in range(setting.steps):
                self._inner.step(setting.lower_loss(self._below, self._above, episode.lower))
            (setting.upper_loss(self._below, episode.upper) / setting.passes).backward()
            if setting.restarts:
                torchopt.recover_state_dict(self._below, start)
                torchopt.recover_state_dict(self._inner, state)
            else:
                torchopt.stop_gradient(self._below)
                torchopt.stop_gradient(self._inner)
        self._optimizer.step()


@final
class Implicit:
    """A function that solves the lower problem, with the derivative of the implicit function."""

    def __init__(self, job: Job, solver: Any) -> None:
        self._setting = job.setting
        self._episodes = cycle(job.episodes())
        self._above, self._below = job.upper(), job.lower()
        self._upper = [*self._above.parameters()]
        self._optimizer = job.optimizer(self._upper)
        self._solve = self._solution(solver)

    @property
    def upper(self) -> Sequence[Tensor]:
        return self._upper

    def update(self) -> None:
        setting = self._setting
        self._optimizer.zero_grad()
        for episode in islice(self._episodes, setting.passes):
            start = tuple(self._upper if setting.restarts else self._below.parameters())
            start = tuple(x.detach().clone().requires_grad_() for x in start)
            params = self._solve(start, tuple(self._upper), episode.lower)
            loss = setting.upper_loss(At(self._below, params), episode.upper)
            (loss / setting.passes).backward()
            if not setting.restarts:
                copy(params, self._below.parameters())
        self._optimizer.step()

    def _solution(self, solver: Any) -> Callable[[Parameters, Parameters, Batch], Parameters]:
        setting = self._setting

        def objective(own: Parameters, above: Parameters, batch: Batch) -> Tensor:
            return setting.lower_loss(At(self._below, own), At(self._above, above), batch)

        @custom_root(torch.func.grad(objective), argnums=1, solve=solver)
        def solution(own: Parameters, above: Parameters, batch: Batch) -> Parameters:
            for _ in range(setting.steps):
                with torch.enable_grad():
                    slopes = torch.autograd.grad(objective(own, above, batch), own)
                own = tuple(
                    (x - setting.rate * slope).detach().requires_grad_()
                    for x, slope in zip(own, slopes, strict=True)
                )
            return own

        found: Callable[[Parameters, Parameters, Batch], Parameters] = solution
        return found


def _solver(method: Method) -> Any:
    match method:
        case ConjugateGradient(iterations=iterations):
            return solve_cg(maxiter=iterations, rtol=1e-10)
        case Neumann(iterations=iterations, alpha=alpha):
            return solve_inv(ns=True, maxiter=iterations, alpha=alpha)
        case _:
            raise UnsupportedError("no such method")


LIBRARY = TorchOpt()
