"""Cross-derivatives by finite differences: what methods without second derivatives share."""

from __future__ import annotations

from collections.abc import Sequence

from mlograph import trees
from mlograph.fields import scalar
from mlograph.hypergradients.protocol import Response
from mlograph.problem import Term
from mlograph.trees import Vector

# Beyond its inverse, a factor is infinite in float32.
_SMALLEST = 1e-30


def cross_derivatives(
    response: Response, direction: Vector, epsilon: float, targets: tuple[str, ...]
) -> dict[str, Vector]:
    """−(∂²L/∂t∂θ)·w for every target t: (∂_t L(θ − hw) − ∂_t L(θ + hw)) / 2h, h = epsilon/‖w‖.

    Two first-order gradients, off by O(epsilon²). Both evaluations draw the random numbers of
    the moment and work on copies: parameters and buffers are never touched. Only the loss terms
    that read a target are evaluated. A direction of zero gives zeros.
    """
    size = trees.length(direction)
    if size == 0.0:
        others = response.problem.others
        return {target: trees.zeros_like(others[target].params) for target in targets}
    step = epsilon / size
    offset, side = direction, step
    if not _SMALLEST < step < 1.0 / _SMALLEST:
        offset, side = trees.over(size, direction), epsilon
    terms = response.problem.terms_reading(targets)
    ahead, behind = (
        gradients_at(response, offset, targets, terms, side=way) for way in (side, -side)
    )
    return {t: trees.scale(0.5 / step, trees.axpy(-1.0, ahead[t], behind[t])) for t in targets}


def gradients_at(
    response: Response,
    offset: Vector,
    owners: tuple[str, ...],
    terms: Sequence[Term] | None = None,
    *,
    side: float = 1.0,
) -> dict[str, Vector]:
    """∂L at θ + side·offset, by owner: the lower problem itself or problems that it reads.

    The evaluation draws the random numbers of the moment and works on copies; `terms` are all
    those of the loss by default. Parameters that these do not depend on are left out.
    """
    problem = response.problem
    own = {name: param.detach() for name, param in problem.model.params.items()}
    moved = trees.axpy(side, offset, {name: own[name] for name in offset})
    at = {name: x.requires_grad_() for name, x in {**own, **moved}.items()}
    views = problem.views({problem.name: problem.model.at(at)})
    wanted = {o: at if o == problem.name else problem.others[o].params for o in owners}
    with response.moment.random.replayed(problem.device):
        evaluation, found = problem.slopes(views, response.moment, wanted, terms)
    scalar(problem, evaluation)
    return found
