"""higher: differentiable copies of modules and of torch's optimisers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import final

import higher
from installed import version
from torch import Tensor
from torch.optim import SGD

from benchmark.libraries.protocol import Job, UnsupportedError, copy
from benchmark.methods import Unroll


@final
class Higher:
    """Unrolled loops, one graph for each episode."""

    @property
    def version(self) -> str:
        return version(higher.__file__, "higher")

    def session(self, job: Job) -> Running:
        if not isinstance(job.problem.method, Unroll):
            raise UnsupportedError("unrolling only")
        return Running(job)

    def remark(self, job: Job) -> str:
        return ""


@final
class Running:
    """Modules between two updates of the upper problem."""

    def __init__(self, job: Job) -> None:
        self._setting = job.setting
        self._episodes = cycle(job.episodes())
        self._above = job.upper()
        self._below = self._above if job.setting.restarts else job.lower()
        self._optimizer = job.optimizer(self.upper)
        self._inner = SGD(self._below.parameters(), lr=job.setting.rate)

    @property
    def upper(self) -> Sequence[Tensor]:
        return [*self._above.parameters()]

    def update(self) -> None:
        setting = self._setting
        self._optimizer.zero_grad()
        for episode in islice(self._episodes, setting.passes):
            with higher.innerloop_ctx(self._below, self._inner, copy_initial_weights=False) as loop:
                lower, steps = loop
                for _ in range(setting.steps):
                    steps.step(setting.lower_loss(lower, self._above, episode.lower))
                (setting.upper_loss(lower, episode.upper) / setting.passes).backward()
                if not setting.restarts:
                    copy(lower.parameters(), self._below.parameters())
        self._optimizer.step()


LIBRARY = Higher()
