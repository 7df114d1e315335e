"""Single-loop methods: gradient steps on the linear system that go on."""

from __future__ import annotations

from typing import Any

import pytest
from cases import (
    CASES,
    RATE,
    Case,
    backward,
    bound,
    damped,
    inverse,
    quadratic,
    relative_error,
    series,
)
from torch import Tensor

from mlograph.executor import Executor


def passes(method: dict[str, Any], count: int) -> tuple[list[Tensor], list[float]]:
    """Hypergradients of so many passes at one point, and the products they took."""
    program = bound(quadratic().graph(method))
    program.problems["inner"].next_moment()
    executor, found, products = Executor(program), [], []
    for _ in range(count):
        found.append(backward(executor, program, "outer"))
        products.append(executor.meters["inner"].flush()["products"])
    return found, products


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_first_pass_is_a_neumann_series(case: Case, steps: int):
    found = case.hypergradient({"method": "soba", "steps": steps, "rate": 0.15})
    assert relative_error(found, case.closed_form(series(0.15, steps))) < 1e-10


@pytest.mark.parametrize("steps", [1, 2])
def test_each_pass_goes_on_where_the_last_one_ended(steps: int):
    found, products = passes({"method": "soba", "steps": steps, "rate": 0.15}, 4)
    assert products == [steps - 1, steps, steps, steps]
    for done, one in enumerate(found, start=1):
        expected = quadratic().closed_form(series(0.15, steps * done))
        assert relative_error(one, expected) < 1e-10


@pytest.mark.parametrize(
    ("preset", "terms"), [("soba", [1, 2, 3]), ("amigo", [10, 20, 30]), ("stocbio", [10, 10, 10])]
)
def test_presets(preset: str, terms: list[int]):
    found, _ = passes({"method": "soba", "preset": preset}, 3)
    for count, one in zip(terms, found, strict=True):
        assert relative_error(one, quadratic().closed_form(series(RATE, count))) < 1e-10


def test_what_is_written_wins_over_the_preset():
    method = {"method": "soba", "preset": "stocbio", "steps": 3, "warm_start": True}
    found, _ = passes(method, 2)
    assert relative_error(found[1], quadratic().closed_form(series(RATE, 6))) < 1e-10
    found, _ = passes({"method": "soba", "warm_start": False}, 2)
    assert relative_error(found[1], quadratic().closed_form(series(RATE, 1))) < 1e-10


def test_a_tolerance_ends_it():
    method = {"method": "soba", "preset": "amigo", "rate": 0.3, "tol": 1e-4}
    found, products = passes(method, 12)
    assert products[-1] == 1
    assert relative_error(found[-1], quadratic().closed_form(inverse)) < 1e-3


def test_damping_is_added_to_the_hessian():
    found, _ = passes({"method": "soba", "preset": "amigo", "rate": 0.2, "damping": 2.0}, 12)
    assert relative_error(found[-1], quadratic().closed_form(damped(2.0))) < 1e-8
