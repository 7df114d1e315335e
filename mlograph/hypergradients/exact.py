"""The dense inverse, for tests and small problems."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from mlograph import linear
from mlograph.hypergradients.implicit import implicit_pull
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language import methods
from mlograph.trees import Vector


@final
@dataclass(frozen=True)
class Exact:
    """w = (H + damping·I)⁻¹ v with H written out: p HVPs, O(p²) memory, O(p³) time."""

    options: methods.Exact

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        return implicit_pull(response, adjoint, targets, linear.dense, self.options.damping)
