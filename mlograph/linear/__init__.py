"""Approximate solutions of A w = b, where A is known only by its products.

Every solver is a pure function of products and `b`, one file each, and says how it ended. None
gives a value that is not finite, and none touches torch's random numbers.
"""

from __future__ import annotations

from mlograph.linear.bicgstab import bicgstab
from mlograph.linear.cg import cg
from mlograph.linear.dense import dense
from mlograph.linear.gmres import gmres
from mlograph.linear.low_rank import LowRank, low_rank
from mlograph.linear.neumann import largest_eigenvalue, neumann
from mlograph.linear.normal_cg import normal_cg
from mlograph.linear.nystrom import nystrom
from mlograph.linear.preconditioners import (
    NONE,
    Preconditioner,
    jacobi,
    nystrom_preconditioner,
)
from mlograph.linear.richardson import richardson
from mlograph.linear.system import MatVec, Solution, Status, System

__all__ = [
    "NONE",
    "LowRank",
    "MatVec",
    "Preconditioner",
    "Solution",
    "Status",
    "System",
    "bicgstab",
    "cg",
    "dense",
    "gmres",
    "jacobi",
    "largest_eigenvalue",
    "low_rank",
    "neumann",
    "normal_cg",
    "nystrom",
    "nystrom_preconditioner",
    "richardson",
]
