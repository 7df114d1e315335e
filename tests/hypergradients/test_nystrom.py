"""The Nyström approximation as a hypergradient method."""

from __future__ import annotations

import pytest
import torch
from cases import CASES, Case, Inverse, damped, inverse, quadratic, relative_error
from torch import Tensor


def from_columns(rank: int, rho: float, seed: int) -> Inverse:
    """(C W⁻¹ Cᵀ + ρI)⁻¹ v."""

    def solved(H: Tensor, v: Tensor) -> Tensor:
        generator = torch.Generator().manual_seed(seed)
        columns = torch.randperm(len(v), generator=generator)[:rank]
        C = H[:, columns]
        return damped(rho)(C @ inverse(C[columns], C.T), v)

    return solved


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("seed", [0, 5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_some_columns_stand_for_all_of_the_hessian(case: Case, rank: int, seed: int):
    options = {"rank": rank, "rho": 0.5, "seed": seed}
    found = case.hypergradient({"method": "nystrom", **options})
    assert relative_error(found, case.closed_form(from_columns(rank, 0.5, seed))) < 1e-10


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_all_columns_are_exact_up_to_rho(case: Case):
    found = case.hypergradient({"method": "nystrom", "rank": 5, "rho": 1e-10})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


def test_damping_and_rho_add_up():
    case = quadratic()
    found = case.hypergradient({"method": "nystrom", "rank": 4, "rho": 0.5, "damping": 1.5})
    assert relative_error(found, case.closed_form(damped(2.0))) < 1e-10
