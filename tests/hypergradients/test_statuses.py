"""What a run says of its linear solves: residual, products, and how each of them ended."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import Case, backward, bound, nested, numbers, quadratic
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from mlograph.errors import NumericError
from mlograph.executor import Executor
from mlograph.linear import Status


def curved(*eigenvalues: float) -> Case:
    """The quadratic, the Hessian of its inner problem diagonal with these eigenvalues."""
    H, C = torch.tensor(eigenvalues, dtype=torch.float64), numbers(4, 3, seed=2)

    def inner_loss(inner: Any, outer: Any) -> Tensor:
        return 0.5 * (H * inner().square()).sum() - inner() @ C @ outer()

    case = quadratic()
    return replace(case, losses={**case.losses, "inner": inner_loss})


def measured(
    case: Case, method: dict[str, Any], passes: int = 1
) -> tuple[dict[str, float], list[str]]:
    """What the lower problem's meter and the executor's remarks say after some passes."""
    program = bound(case.graph(method))
    for name in ("leaf", "middle", "inner"):
        if name in program.problems:
            program.problems[name].next_moment()
    executor = Executor(program)
    for _ in range(passes):
        backward(executor, program, case.upper)
    lower = "leaf" if "leaf" in program.problems else "inner"
    return executor.meters[lower].flush(), executor.remarks


ENDS: list[tuple[dict[str, Any], tuple[float, ...], Status]] = [
    ({"method": "cg"}, (1.0, 2.0, 3.0, 4.0), Status.CONVERGED),
    ({"method": "cg", "iterations": 2}, (1.0, 2.0, 3.0, 4.0), Status.MAX_ITERATIONS),
    ({"method": "cg"}, (-1.0, -2.0, -3.0, -4.0), Status.NEGATIVE_CURVATURE),
    ({"method": "cg"}, (1.0, 2.0, 3.0, 0.0), Status.SINGULAR),
    ({"method": "gmres"}, (1.0, -2.0, 3.0, -4.0), Status.CONVERGED),
    ({"method": "gmres"}, (1.0, 2.0, 3.0, 0.0), Status.SINGULAR),
    ({"method": "bicgstab"}, (0.0, 0.0, 0.0, 0.0), Status.SINGULAR),
    ({"method": "normal_cg"}, (1.0, 2.0, 3.0, 0.0), Status.SINGULAR),
    ({"method": "exact"}, (1.0, 2.0, 3.0, 0.0), Status.SINGULAR),
    ({"method": "neumann", "alpha": 0.9}, (1.0, 2.0, 3.0, 4.0), Status.DIVERGED),
    ({"method": "neumann"}, (1.0, -2.0, -3.0, 4.0), Status.DIVERGED),
    ({"method": "soba", "preset": "amigo", "rate": 0.9}, (1.0, 2.0, 3.0, 4.0), Status.DIVERGED),
    ({"method": "nystrom", "rank": 4}, (1.0, -2.0, 3.0, 4.0), Status.NEGATIVE_CURVATURE),
]


@pytest.mark.parametrize(("method", "eigenvalues", "status"), ENDS)
def test_every_end_is_counted(
    method: dict[str, Any], eigenvalues: tuple[float, ...], status: Status
):
    found, remarks = measured(curved(*eigenvalues), method, passes=2)
    assert found[f"solves_{status.name.lower()}"] == 2
    assert sum(number for name, number in found.items() if name.startswith("solves_")) == 2
    assert found["products"] > 0
    assert math.isfinite(found["residual"])
    told = status not in (Status.CONVERGED, Status.MAX_ITERATIONS)
    assert len(remarks) == told
    assert all("the linear system of 'inner'" in text for text in remarks)


def test_nothing_at_all_is_told_as_such():
    _, remarks = measured(curved(-1.0, -2.0, -3.0, -4.0), {"method": "cg"})
    assert "negative curvature" in remarks[0]
    assert "nothing comes back through it then" in remarks[0]
    assert "inner.solves_negative_curvature counts them" in remarks[0]
    _, remarks = measured(curved(1.0, 2.0, 3.0, 0.0), {"method": "exact"})
    assert "nothing comes back" not in remarks[0]


def test_solves_inside_a_total_condition_count_as_well():
    found, _ = measured(nested(partial=False), {"method": "cg"})
    alone, _ = measured(nested(partial=True), {"method": "cg"})
    assert alone["solves_converged"] == 1
    assert found["solves_converged"] > 1


@pytest.mark.parametrize(
    "method", ["cg", "gmres", "bicgstab", "normal_cg", "neumann", "nystrom", "soba", "exact"]
)
def test_a_solve_that_is_not_finite_stops_the_run(method: str):
    options = {"method": method, **({"steps": 3} if method == "soba" else {})}
    with pytest.raises(NumericError, match=r"the hypergradient of '.*' is not finite"):
        measured(curved(math.inf, math.inf, math.inf, math.inf), options)


def test_a_series_that_diverged_is_no_start_for_the_next():
    method = {"method": "soba", "preset": "amigo", "rate": 0.9}
    program = bound(curved(1.0, 2.0, 3.0, 4.0).graph(method))
    program.problems["inner"].next_moment()
    executor = Executor(program)
    first = backward(executor, program, "outer")
    assert torch.equal(backward(executor, program, "outer"), first)


@given(
    eigenvalues=st.lists(st.sampled_from([-2.0, -1.0, 0.0, 0.5, 1.0, 3.0]), min_size=4, max_size=4),
    method=st.sampled_from(["cg", "gmres", "bicgstab", "normal_cg", "exact", "nystrom"]),
)
def test_no_hessian_makes_a_hypergradient_that_is_no_number(eigenvalues: list[float], method: str):
    assert curved(*eigenvalues).hypergradient(method).isfinite().all()
