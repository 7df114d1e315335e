"""Finite differences, and how far they say that they may be off."""

from __future__ import annotations

import math

import pytest
import torch

from mlograph import trees
from mlograph.gradcheck.differences import FIRSTS, Line, directions, first_steps, slope
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


def test_steps_become_shorter_where_there_are_kinks():
    def kinked(t: float) -> float:
        return abs(t - 0.0015) + 3.0 * math.exp(t)

    long, short = slope(kinked, size=1.0, firsts=FIRSTS[:1]), slope(kinked, size=1.0)
    assert long.doubt > 0.1
    assert short.value == pytest.approx(2.0, abs=1e-8)
    assert short.first == FIRSTS[1]
    assert short.doubt < 1e-6


def test_smooth_functions_take_the_longest_steps_only():
    asked: list[float] = []
    found = slope(lambda t: asked.append(t) or math.exp(t), size=1.0)  # type: ignore[func-returns-value]
    assert (found.first, len(asked)) == (FIRSTS[0], 6)


def test_what_moves_in_jumps_has_no_slope():
    found = slope(lambda t: float(round(300.0 * t)), size=1.0)
    assert found.jumps
    assert found.value != 0.0
    assert not slope(lambda t: 3.0, size=1.0).jumps


def test_steps_are_long_against_rounding():
    assert first_steps(torch.finfo(torch.float64).eps) == FIRSTS
    assert first_steps(torch.finfo(torch.float32).eps) == FIRSTS[:1]


def test_noise_raises_doubts():
    generator = torch.Generator().manual_seed(0)
    doubts = [slope(noisy(generator), size=1.0).doubt for _ in range(100)]
    # Noise agrees with itself now and then.
    assert sum(doubt > 1e-3 for doubt in doubts) > 90


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
    slope(lambda t: asked.append(abs(t)) or t, size=size, firsts=FIRSTS[:1])  # type: ignore[func-returns-value]
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


def test_relative_errors_are_along_the_directions_that_there_was_time_for():
    assert relative_error(Reference("solved", (3.0,), asked=2), (3.3, 7.0)) == pytest.approx(0.1)
