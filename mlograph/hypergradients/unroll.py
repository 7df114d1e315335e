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
    """(dθ_T/du)ᵀ v through the recorded steps θ_{t+1}, s_{t+1} = opt(θ_t, s_t, ∂L(θ_t, u)).

    Exact for the loop as it was run, through torch's own optimiser updates, gradient clipping
    and the start point. One vector-Jacobian product a step. Finn et al. (2017), Franceschi et al.
    (2017).

    `truncate: K` goes back K steps only (Shaban et al., 2019): what the state before them owes to
    u is left out, and so is the start of a longer loop. Of a loop that contracts, the error falls
    with its rate to the power of K.

    `checkpoint` trades time for memory, the result being the same (Griewank and Walther, 2000).
    T steps keep

        none    T graphs
        steps   1 graph, T points (θ_t, s_t);     each step is evaluated twice
        sqrt    1 graph, about 2√T points;        each step is evaluated three times

    and with `truncate` K stands for T (at most √K more for sqrt). Batches are kept in any case, and
    so are copies of what the loss reads of problems that move during the loop.
    """

    options: methods.Unroll

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        assert response.recording is not None, "the executor records loops that are differentiated"
        return Pulled(response.recording.pull(adjoint, targets))
