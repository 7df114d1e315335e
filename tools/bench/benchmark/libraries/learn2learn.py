"""learn2learn: clones of a module that adapt."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

from installed import version
from torch import Tensor

from benchmark.libraries.protocol import Job, UnsupportedError
from benchmark.methods import Unroll
from mlograph.envs.learn2learn_import import import_learn2learn


@final
class Learn2learn:
    """`algorithms.MAML`, for which torchvision and gym need a word at import."""

    @property
    def version(self) -> str:
        return version(import_learn2learn().__file__, "learn2learn")

    def session(self, job: Job) -> Running:
        if not (isinstance(job.problem.method, Unroll) and job.setting.restarts):
            raise UnsupportedError("MAML only")
        return Running(job, import_learn2learn())

    def remark(self, job: Job) -> str:
        return ""


@final
class Running:
    """A module between two updates."""

    def __init__(self, job: Job, learn2learn: Any) -> None:
        self._setting, self._episodes = job.setting, job.episodes()
        self._module = job.upper()
        self._maml = learn2learn.algorithms.MAML(self._module, lr=job.setting.rate)
        self._optimizer = job.optimizer(self.upper)

    @property
    def upper(self) -> Sequence[Tensor]:
        return [*self._module.parameters()]

    def update(self) -> None:
        setting = self._setting
        self._optimizer.zero_grad()
        for episode in self._episodes:
            learner = self._maml.clone()
            for _ in range(setting.steps):
                learner.adapt(setting.lower_loss(learner, self._module, episode.lower))
            (setting.upper_loss(learner, episode.upper) / setting.passes).backward()
        self._optimizer.step()


LIBRARY = Learn2learn()
