"""The code of the iMAML paper (aravindr93/imaml_dev): learners with flat vectors of parameters."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle, islice
from typing import final

import implicit_maml
import torch
from implicit_maml.learner_model import Learner
from implicit_maml.utils import cg_solve
from installed import version
from torch import Tensor, nn

from benchmark.libraries.protocol import Job, UnsupportedError
from benchmark.methods import ConjugateGradient
from benchmark.settings import Episode, FewShot


@final
class Original:
    """One method, for one kind of problem."""

    @property
    def version(self) -> str:
        return version(implicit_maml.__file__, "implicit_maml")

    def session(self, job: Job) -> Running:
        method, setting = job.problem.method, job.setting
        if not isinstance(setting, FewShot) or not setting.weight:
            raise UnsupportedError("lower problems are held to the upper one by a proximal term")
        if not isinstance(method, ConjugateGradient):
            raise UnsupportedError("no such method")
        return Running(job, setting, method.iterations)

    def remark(self, job: Job) -> str:
        return ""


@final
class Running:
    """What its example does between two updates, without what that logs."""

    def __init__(self, job: Job, setting: FewShot, iterations: int) -> None:
        self._setting, self._iterations = setting, iterations
        self._episodes = cycle(job.episodes())
        gpu = job.device == "cuda"
        self._above, self._below = (
            Learner(module, nn.CrossEntropyLoss(), inner_lr=setting.rate, GPU=gpu)
            for module in (job.upper(), job.lower())
        )
        self._above.outer_opt = job.optimizer(self.upper)

    @property
    def upper(self) -> Sequence[Tensor]:
        return [*self._above.model.parameters()]

    def update(self) -> None:
        """A step of the learner above along the mean of what the tasks give."""
        start = self._above.get_params()
        episodes = islice(self._episodes, self._setting.passes)
        found = torch.stack([self._hypergradient(one, start) for one in episodes])
        self._above.outer_step_with_grad(found.mean(0), flat_grad=True)

    def _hypergradient(self, episode: Episode, start: Tensor) -> Tensor:
        """(I + ∇²L/λ)⁻¹ ∇V, by conjugate gradients."""
        setting, learner = self._setting, self._below
        learner.set_params(start.clone())
        learner.learn_on_data(
            *episode.lower, setting.steps, add_regularization=True, w_0=start, lam=setting.weight
        )
        loss = learner.get_loss(*episode.upper)
        slopes = torch.autograd.grad(loss, [*learner.model.parameters()])
        task = dict(zip(("x_train", "y_train"), episode.lower, strict=True))
        # The term of the loss is all the damping there is.
        product = learner.matrix_evaluator(task, setting.weight, regu_coef=0.0, lam_damping=0.0)
        flat = torch.cat([x.contiguous().view(-1) for x in slopes])
        solved: Tensor = cg_solve(product, flat, self._iterations, residual_tol=0.0)
        return solved


LIBRARY = Original()
