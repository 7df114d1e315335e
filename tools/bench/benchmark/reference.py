"""Hypergradients by the book: slow, in a few lines, with nothing shared or left out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.autograd import grad

from benchmark.libraries.protocol import At, Job, leaves
from benchmark.methods import EPSILON, ConjugateGradient, Darts, Neumann, Unroll
from benchmark.settings import Episode

Vector = list[Tensor]


def hypergradient(job: Job) -> Tensor:
    """Of the first update, in one vector, in torch's default type."""
    upper = [*job.upper().parameters()]
    found = []
    for episode in job.episodes()[: job.setting.passes]:
        found.append(torch.cat([x.flatten() for x in _Loop(job, upper, episode).hypergradient()]))
    return torch.stack(found).mean(dim=0)


class _Loop:
    """The lower loop of one episode and what comes back through it."""

    def __init__(self, job: Job, upper: Vector, episode: Episode) -> None:
        self._job, self._upper, self._episode = job, upper, episode
        self._modules = (job.lower(), job.upper())

    def hypergradient(self) -> Sequence[Tensor]:
        setting, method = self._job.setting, self._job.problem.method
        start = self._upper if setting.restarts else leaves(self._modules[0].parameters())
        z = [x.view_as(x) for x in start]
        for _ in range(setting.steps):
            slopes = grad(self._lower_loss(z), z, create_graph=True)
            z = [x - setting.rate * slope for x, slope in zip(z, slopes, strict=True)]
        if isinstance(method, Unroll):
            return grad(self._upper_loss(z), self._upper)
        z = leaves(z)
        v = [*grad(self._upper_loss(z), z)]
        if isinstance(method, Darts):
            return self._differences(z, v)
        slopes = grad(self._lower_loss(z), z, create_graph=True)
        w = self._solved(slopes, z, v)
        return [-x for x in grad(slopes, self._upper, w)]

    def _solved(self, slopes: Sequence[Tensor], z: Vector, v: Vector) -> Vector:
        def product(w: Vector) -> Vector:
            return [*grad(slopes, z, w, retain_graph=True)]

        match self._job.problem.method:
            case ConjugateGradient(iterations=iterations):
                w = [torch.zeros_like(x) for x in v]
                r, p = v, v
                for _ in range(iterations):
                    q = product(p)
                    step = _dot(r, r) / _dot(p, q)
                    w = _sum(w, p, step)
                    r, before = _sum(r, q, -step), r
                    p = _sum(r, p, _dot(r, r) / _dot(before, before))
                return w
            case Neumann(iterations=iterations, alpha=alpha):
                term = total = v
                for _ in range(iterations):
                    term = _sum(term, product(term), -alpha)
                    total = _sum(total, term, 1.0)
                return [alpha * x for x in total]
            case method:
                raise AssertionError(f"{method} solves no linear system")

    def _differences(self, z: Vector, v: Vector) -> Vector:
        step = EPSILON / _dot(v, v) ** 0.5
        ahead, behind = (
            grad(self._lower_loss(_sum(z, v, sign * step)), self._upper) for sign in (1.0, -1.0)
        )
        return [-(x - y) / (2 * step) for x, y in zip(ahead, behind, strict=True)]

    def _lower_loss(self, z: Vector) -> Tensor:
        lower, upper = At(self._modules[0], z), At(self._modules[1], self._upper)
        return self._job.setting.lower_loss(lower, upper, self._episode.lower)

    def _upper_loss(self, z: Vector) -> Tensor:
        return self._job.setting.upper_loss(At(self._modules[0], z), self._episode.upper)


def _dot(left: Sequence[Tensor], right: Sequence[Tensor]) -> float:
    return sum(float((x * y).sum()) for x, y in zip(left, right, strict=True))


def _sum(left: Sequence[Tensor], right: Sequence[Tensor], factor: float) -> Vector:
    return [x + factor * y for x, y in zip(left, right, strict=True)]
