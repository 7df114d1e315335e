"""The way from the start of a loop to its end, taken for a gradient of the start."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.optimizers import rates
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Reptile:
    """θ_start − θ_T for the problem that the inner loop starts from, nothing for all others.

    Whatever the loss of the upper problem sends down is ignored: that loss is only a metric, but
    for its terms that read the upper problem's own parameters, which count as always. The upper
    optimiser steps along θ_T − θ_start: SGD with a rate of 1 goes to the mean of what the tasks
    of an update (`gradient_accumulation`) arrive at. `scale: lr` divides by the present learning
    rate of each parameter's group; with SGD this is the sum of the gradients of the loop. Costs
    nothing. Nichol et al. (2018).
    """

    options: methods.Reptile

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        problem = response.problem
        start, end = problem.spec.start_from, problem.model.params
        if start not in targets:
            return Pulled({})
        scales = rates(problem.optimizer, end, self.options.scale)
        begun = problem.others[start].params
        way = {n: (x - end[n]).detach() / scales[n] for n, x in begun.items() if n in end}
        return Pulled({start: way})
