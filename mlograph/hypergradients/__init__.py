"""Hypergradient methods: one file each, one line each in `METHODS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from mlograph.hypergradients.cg import ConjugateGradient
from mlograph.hypergradients.darts import Darts
from mlograph.hypergradients.exact import Exact
from mlograph.hypergradients.first_order import FirstOrder
from mlograph.hypergradients.implicit import Implicit
from mlograph.hypergradients.neumann import Neumann
from mlograph.hypergradients.protocol import HypergradientMethod, Pulled, Response
from mlograph.hypergradients.unroll import Unroll

__all__ = ["METHODS", "HypergradientMethod", "Implicit", "Pulled", "Response"]

# The names and the options are those of `language.methods.METHODS`.
METHODS: Mapping[str, Callable[[Any], HypergradientMethod]] = {
    "exact": Exact,
    "cg": ConjugateGradient,
    "neumann": Neumann,
    "darts": Darts,
    "first_order": FirstOrder,
    "unroll": Unroll,
}
