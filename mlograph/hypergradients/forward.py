"""Forward mode through the inner loop: for few upper parameters."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Forward:
    """(dθ_T/du)ᵀ v with Z_t = d(θ_t, s_t)/du carried along as the loop runs.

        Z_{t+1} = ∂Φ_t/∂(θ, s) · Z_t + ∂Φ_t/∂u,        (θ_{t+1}, s_{t+1}) = Φ_t(θ_t, s_t, u)

    The same numbers as `unroll`, through torch's own optimiser updates, gradient clipping and the
    start point. With m parameters in all problems that the adjoint is pulled back to, each step
    costs m Jacobian-vector products, whether a pull follows or not; a pull costs m inner products.
    Memory is m times that of θ and s and the graph of one step, however long the loop is. More than
    `methods.Forward.LARGEST` parameters are refused. Franceschi et al. (2017).
    """

    options: methods.Forward

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        assert response.recording is not None, "the executor records loops that are differentiated"
        return Pulled(response.recording.pull(adjoint, targets))
