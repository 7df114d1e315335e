"""Hypergradient methods: one file each, one line each in `METHODS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlograph.hypergradients.bicgstab import Bicgstab
from mlograph.hypergradients.cg import ConjugateGradient
from mlograph.hypergradients.darts import Darts
from mlograph.hypergradients.es import EvolutionStrategies
from mlograph.hypergradients.exact import Exact
from mlograph.hypergradients.first_order import FirstOrder
from mlograph.hypergradients.fixed_point import FixedPoint
from mlograph.hypergradients.forward import Forward
from mlograph.hypergradients.gmres import Gmres
from mlograph.hypergradients.identity import Identity
from mlograph.hypergradients.implicit import Implicit
from mlograph.hypergradients.neumann import Neumann
from mlograph.hypergradients.normal_cg import NormalConjugateGradient
from mlograph.hypergradients.nystrom import Nystrom
from mlograph.hypergradients.penalty import Penalty
from mlograph.hypergradients.protocol import HypergradientMethod, Pulled, Response
from mlograph.hypergradients.reptile import Reptile
from mlograph.hypergradients.sama import Sama
from mlograph.hypergradients.soba import Soba
from mlograph.hypergradients.unroll import Unroll

__all__ = ["METHODS", "HypergradientMethod", "Implicit", "Pulled", "Response"]

# The names and the options are those of `language.methods.METHODS`.
METHODS: Mapping[str, Callable[[Any], HypergradientMethod]] = {
    "exact": Exact,
    "cg": ConjugateGradient,
    "gmres": Gmres,
    "bicgstab": Bicgstab,
    "normal_cg": NormalConjugateGradient,
    "neumann": Neumann,
    "nystrom": Nystrom,
    "identity": Identity,
    "soba": Soba,
    "darts": Darts,
    "sama": Sama,
    "penalty": Penalty,
    "es": EvolutionStrategies,
    "first_order": FirstOrder,
    "reptile": Reptile,
    "unroll": Unroll,
    "forward": Forward,
    "fixed_point": FixedPoint,
}
