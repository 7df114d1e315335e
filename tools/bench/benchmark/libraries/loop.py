"""No library: loops of plain torch, as somebody writes them who knows the problem and the machine.

What has a closed form is written down instead of differentiated: for implicit MAML, the upper
weights stand in λ/2·‖θ − u‖² alone, so that the hypergradient is λ·w, and H is that of the
cross-entropy plus λ.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import cycle
from typing import final

import torch
from torch import Tensor
from torch.autograd import grad

from benchmark.libraries.protocol import (
    At,
    Job,
    Session,
    UnsupportedError,
    add_gradients,
    copy,
)
from benchmark.methods import EPSILON, ConjugateGradient, Darts, Method, Neumann, Unroll
from benchmark.settings import Batch, Episode, FewShot, Penalties

Vector = Sequence[Tensor]
Product = Callable[[Vector], Vector]


@final
class Loop:
    """A loop for each of the settings."""

    @property
    def version(self) -> str:
        return f"torch {torch.__version__}"

    def session(self, job: Job) -> Session:
        match job.setting:
            case FewShot() as setting if isinstance(job.problem.method, Unroll):
                return Maml(job, setting)
            case FewShot() as setting:
                return ImplicitMaml(job, setting)
            case _:
                return Alternating(job)

    def remark(self, job: Job) -> str:
        return ""


@final
class Maml:
    """The inner loop as one graph of functional steps; one backward pass a task."""

    def __init__(self, job: Job, setting: FewShot) -> None:
        self._setting, self._episodes = setting, job.episodes()
        self._module = job.upper()
        self.upper: Vector = [*self._module.parameters()]
        self._optimizer = job.optimizer(self.upper)

    def update(self) -> None:
        for episode in self._episodes:
            params = self.upper
            for _ in range(self._setting.steps):
                net = At(self._module, params)
                loss = self._setting.upper_loss(net, episode.lower)
                slopes = grad(loss, params, create_graph=True)
                params = torch._foreach_add(params, slopes, alpha=-self._setting.rate)
            loss = self._setting.upper_loss(At(self._module, params), episode.upper)
            (loss / len(self._episodes)).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()


@final
class ImplicitMaml:
    """Steps in place, on one module that every task begins anew."""

    def __init__(self, job: Job, setting: FewShot) -> None:
        self._setting, self._method, self._episodes = setting, job.problem.method, job.episodes()
        self._module = job.lower()
        self._params = [*self._module.parameters()]
        self.upper: Vector = [*job.upper().parameters()]
        self._optimizer = job.optimizer(self.upper)

    def update(self) -> None:
        weight, share = self._setting.weight, 1.0 / len(self._episodes)
        for episode in self._episodes:
            self._adapt(episode.lower)
            v = grad(self._setting.upper_loss(self._module, episode.upper), self._params)
            w = v if isinstance(self._method, Darts) else self._solved(episode.lower, v)
            add_gradients(self.upper, w, weight * share)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _adapt(self, batch: Batch) -> None:
        weight, rate = self._setting.weight, self._setting.rate
        copy(self.upper, self._params)
        for _ in range(self._setting.steps):
            slopes = grad(self._setting.upper_loss(self._module, batch), self._params)
            with torch.no_grad():
                # θ − r(g + λ(θ − u)) = (1 − rλ)θ + rλu − rg
                torch._foreach_lerp_(self._params, self.upper, rate * weight)
                torch._foreach_add_(self._params, slopes, alpha=-rate)

    def _solved(self, batch: Batch, v: Vector) -> Vector:
        loss = self._setting.upper_loss(self._module, batch)
        slopes = grad(loss, self._params, create_graph=True)

        def product(w: Vector) -> Vector:
            found = grad(slopes, self._params, w, retain_graph=True)
            return torch._foreach_add(found, w, alpha=self._setting.weight)

        return solved(self._method, product, v)


@final
class Alternating:
    """The lower problem moves on and on; the upper one after each of its loops."""

    def __init__(self, job: Job) -> None:
        self._job, self._setting = job, job.setting
        self._episodes = cycle(job.episodes())
        self._above, self._below = job.upper(), job.lower()
        self.upper: Vector = [*self._above.parameters()]
        self._params = [*self._below.parameters()]
        self._optimizer = job.optimizer(self.upper)

    def update(self) -> None:
        episode = next(self._episodes)
        method = self._job.problem.method
        found = self._unrolled(episode) if isinstance(method, Unroll) else self._pulled(episode)
        add_gradients(self.upper, found, 1.0)
        self._optimizer.step()
        self._optimizer.zero_grad()

    def _unrolled(self, episode: Episode) -> Vector:
        params: Vector = self._params
        for _ in range(self._setting.steps):
            net = At(self._below, params)
            loss = self._setting.lower_loss(net, self._above, episode.lower)
            slopes = grad(loss, params, create_graph=True)
            params = torch._foreach_add(params, slopes, alpha=-self._setting.rate)
        loss = self._setting.upper_loss(At(self._below, params), episode.upper)
        found = grad(loss, self.upper)
        copy(params, self._params)
        return found

    def _pulled(self, episode: Episode) -> Vector:
        for _ in range(self._setting.steps):
            slopes = grad(self._loss(episode), self._params)
            with torch.no_grad():
                torch._foreach_add_(self._params, slopes, alpha=-self._setting.rate)
        v = grad(self._setting.upper_loss(self._below, episode.upper), self._params)
        if isinstance(self._job.problem.method, Darts):
            return self._differences(episode, v)
        slopes = grad(self._loss(episode), self._params, create_graph=True)

        def product(w: Vector) -> Vector:
            return grad(slopes, self._params, w, retain_graph=True)

        w = solved(self._job.problem.method, product, v)
        if isinstance(self._setting, Penalties):
            # ∂²/∂λ∂θ of ½ exp(λ)·θ² is exp(λ)·θ.
            return (-self.upper[0].detach().exp() * (self._params[0] * w[0]).detach().sum(dim=0),)
        return torch._foreach_neg(grad(slopes, self.upper, w))

    def _differences(self, episode: Episode, v: Vector) -> Vector:
        step = EPSILON / float(_norm(v))
        found = []
        for move in (step, -2 * step):
            with torch.no_grad():
                torch._foreach_add_(self._params, v, alpha=move)
            found.append(grad(self._loss(episode), self.upper))
        with torch.no_grad():
            torch._foreach_add_(self._params, v, alpha=step)
        ahead, behind = found
        return torch._foreach_mul(torch._foreach_sub(behind, ahead), 0.5 / step)

    def _loss(self, episode: Episode) -> Tensor:
        return self._setting.lower_loss(self._below, self._above, episode.lower)


def solved(method: Method, product: Product, v: Vector) -> Vector:
    """H⁻¹v, as far as the method goes."""
    match method:
        case ConjugateGradient(iterations=iterations):
            return _conjugate_gradient(product, v, iterations)
        case Neumann(iterations=iterations, alpha=alpha):
            term = total = v
            for _ in range(iterations):
                term = torch._foreach_add(term, product(term), alpha=-alpha)
                total = torch._foreach_add(total, term)
            return torch._foreach_mul(total, alpha)
        case _:
            raise UnsupportedError(f"no linear system in {method}")


def _conjugate_gradient(product: Product, v: Vector, iterations: int) -> Vector:
    w: Vector = [torch.zeros_like(x) for x in v]
    r = p = v
    size = _dot(r, r)
    for _ in range(iterations):
        q = product(p)
        step = float(size / _dot(p, q))
        w = torch._foreach_add(w, p, alpha=step)
        r = torch._foreach_add(r, q, alpha=-step)
        size, before = _dot(r, r), size
        p = torch._foreach_add(r, p, alpha=float(size / before))
    return w


def _dot(left: Vector, right: Vector) -> Tensor:
    return torch.stack([x.flatten() @ y.flatten() for x, y in zip(left, right, strict=True)]).sum()


def _norm(vector: Vector) -> Tensor:
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(vector)))


LIBRARY = Loop()
