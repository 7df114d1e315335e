"""Fixed-point iterations of the optimiser's own step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import linear, trees
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.linear import Solution
from mlograph.recording import Link, virtual_step
from mlograph.residual import filled
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class FixedPoint:
    """Φ_uᵀ w with w ← Φ_xᵀ w + v from w = v: K iterations are w = Σ_{k=0..K} (Φ_xᵀ)^k v.

    x = (θ, s) are the parameters and the optimiser's state (momentum, second moments), and Φ is
    the optimiser's own next step from where the problem stands, on its last batch: torch's update
    at the present learning rates, with gradient clipping, and not taken. Where the inner loop has
    arrived at a fixed point of Φ, and Φ contracts, w converges to (I − Φ_xᵀ)⁻¹ v and the result to
    the implicit one, at the rate at which the loop itself converges; it is then what `unroll` gives
    for K + 1 more steps. For plain SGD it is `neumann` with its learning rate for α.

    Adam and its like do not contract at a solution: where gradients vanish, a step divides by
    their size. Diverging iterations are told as such.

    One step's graph, K + 1 vector-Jacobian products, K being `iterations` or less: they end where
    the last term is not larger than `tol`·‖v‖. `warm_start` begins at the last w, for one product
    more. Grazzi et al. (2020).
    """

    options: methods.FixedPoint

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        link = virtual_step(response.problem, response.moment)
        # What the step leaves where it is has no fixed point to speak of.
        moved = {n: x for n, x in link.inputs.items() if link.outputs[n] is not x}
        if not moved:
            return Pulled({target: {} for target in targets})
        known = {name: x for name, x in adjoint.items() if name in moved}
        solution = self._solve(link, filled(known, moved), response.guess)
        return Pulled(link.vjp(solution.value, targets, keep=False)[1], solution)

    def _solve(self, link: Link, v: Vector, guess: Vector | None) -> Solution:
        """(I − Φ_xᵀ) w = v by its Neumann series with α = 1, which these iterations are."""

        def product(w: Vector) -> Vector:
            back, _ = link.vjp(w, (), keep=True)
            return trees.axpy(-1.0, filled(back, v), w)

        fits = self.options.warm_start and guess is not None and guess.keys() == v.keys()
        return linear.neumann(
            product,
            v,
            iterations=self.options.iterations,
            alpha=1.0,
            tol=self.options.tol,
            start=guess if fits else None,
        )
