"""Finite differences, and how far they say that they may be off."""

from __future__ import annotations

import math

import pytest
import torch

from mlograph import trees
from mlograph.gradcheck.differences import Line, directions, slope
from mlograph.gradcheck.references import relative_error
from mlograph.gradcheck.report import Reference

SMOOTH = {
    "exp": (math.exp, 1.0),
    "sine of a large number": (lambda t: math.sin(5.0 + 30.0 * t), 30.0 * math.cos(5.0)),
    "cube": (lambda t: (1.0 + t) ** 3, 3.0),
    "line": (lambda t: 7.0 - 2.0 * t, -2.0),
}


@pytest.mark.parametrize("name", SMOOTH)
def test_smooth_functions_are_known_to_ten_digits(name: str):
    function, truth = SMOOTH[name]
    found = slope(function, size=1.0)
    assert found.value == pytest.approx(truth, rel=1e-10)
    assert found.doubt < 1e-5 * abs(truth)


@pytest.mark.parametrize("name", SMOOTH)
def test_the_doubt_is_not_too_small(name: str):
    function, truth = SMOOTH[name]
    found = slope(function, size=1.0)
    assert abs(found.value - truth) < 10.0 * found.doubt + 1e-11 * abs(truth)


def test_kinks_and_noise_raise_doubts():
    assert slope(lambda t: abs(t - 0.0015), size=1.0).doubt > 0.1
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        assert slope(noisy(generator), size=1.0).doubt > 1e-3


def noisy(generator: torch.Generator) -> Line:
    """A slope of one, under noise."""
    return lambda t: t + 1e-4 * float(torch.randn(1, generator=generator))


def test_what_is_not_finite_is_no_slope():
    found = slope(lambda t: math.inf if t > 0 else t, size=1.0)
    assert not math.isfinite(found.doubt) or math.isnan(found.value)


def test_a_step_that_is_given_is_taken():
    asked: list[float] = []

    def cube(t: float) -> float:
        asked.append(t)
        return t**3

    found = slope(cube, size=1.0, step=0.1)
    assert found.value == pytest.approx(0.01)
    assert sorted({abs(t) for t in asked}) == [0.05, 0.1]
    assert found.doubt == pytest.approx(0.0075)


@pytest.mark.parametrize("size", [0.0, 1e-3, 1.0, 100.0])
def test_steps_are_small_against_small_parameters(size: int):
    asked: list[float] = []
    slope(lambda t: asked.append(abs(t)) or t, size=size)  # type: ignore[func-returns-value]
    assert max(asked) == pytest.approx(4e-3 * {0.0: 1.0, 1e-3: 0.01}.get(size, 1.0))


def test_directions_are_unit_vectors_that_disturb_nobody():
    like = {"a": torch.zeros(3, 2, dtype=torch.float64), "b": torch.zeros(1)}
    before = torch.get_rng_state()
    first, second = directions(like, 2, seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert all(float(trees.norm(d)) == pytest.approx(1.0) for d in (first, second))
    assert not torch.equal(first["a"], second["a"])
    assert torch.equal(directions(like, 1, seed=4)[0]["a"], first["a"])
    assert first["b"].dtype == torch.float32


def test_relative_errors_know_zero():
    def error(slopes: tuple[float, ...], found: tuple[float, ...], floor: float = 0.0) -> float:
        return relative_error(Reference("solved", slopes, 0.0, floor), found)

    assert error((3.0, 4.0), (3.0, 5.0)) == pytest.approx(0.2)
    assert error((0.0, 0.0), (0.0, 0.0)) == 0.0
    assert error((0.0, 0.0), (0.0, 1e-3)) == math.inf
    assert error((1e-12,), (-1e-12,), floor=1e-9) == 0.0
    assert error((1e-12,), (1e-3,), floor=1e-9) > 1e5
