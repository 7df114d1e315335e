"""Reverse mode through the inner loop: MAML's method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Unroll:
    """(dθ_T/du)ᵀ v through every recorded step θ_{t+1} = opt(θ_t, s_t, ∂L(θ_t, u)).

    Exact for the loop as it was run, through torch's own optimiser updates, gradient clipping
    and the start point. T vector-Jacobian products; memory grows with T. Finn et al. (2017),
    Franceschi et al. (2017).
    """

    options: methods.Unroll

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        assert response.recording is not None, "the executor records loops of unrolled problems"
        return Pulled(response.recording.pull(adjoint, targets))
