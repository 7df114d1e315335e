"""The options of every hypergradient method; the methods themselves are in `hypergradients/`.

Options stand here, apart from the code that uses them, so that a graph is checked without torch.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field

from mlograph.language.methods.base import Damped, Implicit, Iterative, Method, Preconditioned
from mlograph.language.methods.loops import FirstOrder, FixedPoint, Forward, Reptile, Unroll
from mlograph.language.methods.points import Darts, EvolutionStrategies, Penalty, Sama
from mlograph.language.methods.systems import (
    Bicgstab,
    ConjugateGradient,
    Exact,
    Gmres,
    Identity,
    Neumann,
    NormalConjugateGradient,
    Nystrom,
    Soba,
)

__all__ = [
    "METHODS",
    "Bicgstab",
    "ConjugateGradient",
    "Damped",
    "Darts",
    "EvolutionStrategies",
    "Exact",
    "FirstOrder",
    "FixedPoint",
    "Forward",
    "Gmres",
    "Hypergradient",
    "Identity",
    "Implicit",
    "Iterative",
    "Method",
    "Neumann",
    "NormalConjugateGradient",
    "Nystrom",
    "Penalty",
    "Preconditioned",
    "Reptile",
    "Sama",
    "Soba",
    "Unroll",
]


def _expand_name(value: object) -> object:
    return {"method": value} if isinstance(value, str) else value


METHODS: dict[str, type[Method]] = {
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

Hypergradient = Annotated[
    Exact
    | ConjugateGradient
    | Gmres
    | Bicgstab
    | NormalConjugateGradient
    | Neumann
    | Nystrom
    | Identity
    | Soba
    | Darts
    | Sama
    | Penalty
    | EvolutionStrategies
    | FirstOrder
    | Reptile
    | Unroll
    | Forward
    | FixedPoint,
    Field(discriminator="method"),
    BeforeValidator(_expand_name),
]
