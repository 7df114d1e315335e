"""Evolution strategies: the inner loop is run again with what it reads moved a little."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch

from mlograph import trees
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class EvolutionStrategies:
    """The mean over `samples` d ~ N(0, I) of d · (φ(z(u + σd)) − φ(z(u − σd))) / 2σ.

    σ is `sigma`, z(u) is where the recorded inner loop ends, run again with the same batches and
    random numbers. With `estimate: jacobian`, φ is ⟨v, z⟩ (PZOBO; Sow, Ji and Liang, 2022). With
    `objective` it is the upper loss itself, which needs no gradient (Salimans et al., 2017;
    ES-MAML, Song et al., 2020), evaluated with the random numbers of its own pass; what other
    problems send comes in as ⟨v, z⟩. Where autograd finds no direct derivative of the loss with
    respect to u, u is moved in it as well.

    Unbiased for quadratic φ∘z, whatever σ; else the gradient of φ∘z smoothed with N(0, σ²I). The
    relative variance is about (number of parameters + 1)/samples. Without `antithetic`, φ(z(u))
    stands on the other side: half the runs, but unbiased for linear φ∘z only, and noisier.

    2·samples runs of the inner loop for each target (samples without `antithetic`), with no other
    gradients than the loop's own. A loop that restarts nowhere begins where it began; what lower
    problems and the Env did meanwhile stays as it was.
    """

    options: methods.EvolutionStrategies

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        generator = torch.Generator().manual_seed(response.seed())
        return Pulled({t: self._estimate(response, adjoint, t, generator) for t in targets})

    def _estimate(
        self, response: Response, adjoint: Vector, target: str, generator: torch.Generator
    ) -> Vector:
        sigma, samples, both = self.options.sigma, self.options.samples, self.options.antithetic
        here = {n: x.detach() for n, x in response.problem.others[target].params.items()}
        there = None if both else _unmoved(response, target, here)
        span = (2.0 if both else 1.0) * sigma
        total = trees.zeros_like(here)
        for _ in range(samples):
            direction = _normal(here, generator)
            ahead = _rerun(response, target, trees.axpy(sigma, direction, here))
            behind = there or _rerun(response, target, trees.axpy(-sigma, direction, here))
            way = trees.axpy(-1.0, behind.solution, ahead.solution)
            rise = ahead.value - behind.value + _along(adjoint, way)
            total = trees.axpy(rise / (span * samples), direction, total)
        return total


@dataclass(frozen=True)
class _End:
    """Where a loop ended, and the upper loss there, if it counts."""

    solution: Vector
    value: float


def _rerun(response: Response, target: str, moved: Vector) -> _End:
    assert response.recording is not None, "the executor records loops that are run again"
    return _end(response, target, moved, response.recording.replay({target: moved}))


def _unmoved(response: Response, target: str, here: Vector) -> _End:
    params = response.problem.model.params
    return _end(response, target, here, {name: x.detach() for name, x in params.items()})


def _end(response: Response, target: str, moved: Vector, solution: Vector) -> _End:
    objective = response.objective
    value = 0.0 if objective is None else objective.value(solution, {target: moved})
    return _End(solution, value)


def _along(adjoint: Vector, way: Vector) -> float:
    return float(trees.dot(adjoint, {name: way[name] for name in adjoint})) if adjoint else 0.0


def _normal(like: Vector, generator: torch.Generator) -> Vector:
    """N(0, I), the same numbers on every device and in every precision."""
    return {
        name: torch.randn(x.shape, generator=generator, dtype=torch.float32).to(x)
        for name, x in like.items()
    }
