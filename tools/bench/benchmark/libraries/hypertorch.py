"""hypertorch (prolearner/hypertorch, imported as `hypergrad`): bilevel, by fixed-point maps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle, islice
from typing import final

import hypergrad
from hypergrad import CG, GradientDescent, neumann, reverse_unroll
from installed import version
from torch import Tensor

from benchmark.libraries.protocol import At, Job, UnsupportedError, copy, leaves
from benchmark.methods import ConjugateGradient, Darts, Neumann, Unroll
from benchmark.settings import Episode

Loss = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]


@final
class Hypertorch:
    """The fixed-point map is one step of its own gradient descent."""

    @property
    def version(self) -> str:
        return version(hypergrad.__file__, "hypergrad")

    def session(self, job: Job) -> Running:
        if isinstance(job.problem.method, Darts):
            raise UnsupportedError("no such method")
        return Running(job)

    def remark(self, job: Job) -> str:
        return ""


@final
class Running:
    """Modules between two updates of the upper problem."""

    def __init__(self, job: Job) -> None:
        self._setting, self._method = job.setting, job.problem.method
        self._episodes = cycle(job.episodes())
        self._above, self._below = job.upper(), job.lower()
        self._upper = [*self._above.parameters()]
        self._optimizer = job.optimizer(self._upper)

    @property
    def upper(self) -> Sequence[Tensor]:
        return self._upper

    def update(self) -> None:
        """Its functions add to the gradients of the upper parameters."""
        setting = self._setting
        self._optimizer.zero_grad()
        for episode in islice(self._episodes, setting.passes):
            inner, outer = self._losses(episode)
            step = GradientDescent(inner, setting.rate)
            end = self._looped(step)
            match self._method:
                case ConjugateGradient(iterations=iterations):
                    CG(end, self._upper, iterations, step, outer)
                case Neumann(iterations=iterations):
                    neumann(end, self._upper, iterations, step, outer)
                case _:
                    reverse_unroll(end, self._upper, outer)
            if not setting.restarts:
                copy(end, self._below.parameters())
        self._optimizer.step()

    def _looped(self, step: GradientDescent) -> list[Tensor]:
        """Where the lower loop ends; its graph is kept for unrolling only."""
        unrolled = isinstance(self._method, Unroll)
        start = self._upper if self._setting.restarts else [*self._below.parameters()]
        params = [x.clone() for x in start] if unrolled else leaves(start)
        for _ in range(self._setting.steps):
            params = step(params, self._upper, create_graph=unrolled)
        return params

    def _losses(self, episode: Episode) -> tuple[Loss, Loss]:
        setting = self._setting

        def inner(lower: Sequence[Tensor], upper: Sequence[Tensor]) -> Tensor:
            return setting.lower_loss(At(self._below, lower), At(self._above, upper), episode.lower)

        def outer(lower: Sequence[Tensor], upper: Sequence[Tensor]) -> Tensor:
            return setting.upper_loss(At(self._below, lower), episode.upper) / setting.passes

        return inner, outer


LIBRARY = Hypertorch()
