"""No second derivatives at all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class FirstOrder:
    """dz*/du ≈ I for the problem that the inner loop starts from, 0 for all others.

    First-order MAML (Finn et al., 2017; Nichol et al., 2018): the gradient at the adapted
    parameters is applied to the initial ones. Costs nothing.
    """

    options: methods.FirstOrder

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        start = response.problem.spec.start_from
        if start not in targets:
            return Pulled({})
        moved = response.problem.others[start].params
        return Pulled({start: {name: x for name, x in adjoint.items() if name in moved}})
