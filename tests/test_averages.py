"""Means and deviations of measured numbers."""

import math
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlograph.averages import deviation, mean, mean_and_deviation

SOME = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)
MOST = 1.7e308


@given(SOME)
def test_they_are_what_textbooks_say(values: list[float]):
    assert mean(values) == pytest.approx(statistics.fmean(values), rel=1e-9, abs=1e-9)
    assert deviation(values) == pytest.approx(statistics.stdev(values), rel=1e-6, abs=1e-6)


@given(st.lists(st.tuples(st.floats(-1e6, 1e6), st.integers(1, 50)), min_size=1, max_size=20))
def test_a_value_counted_n_times_weighs_as_n_values(pairs: list[tuple[float, int]]):
    values, counts = zip(*pairs, strict=True)
    spelled = [value for value, count in pairs for _ in range(count)]
    assert mean(values, counts) == pytest.approx(statistics.fmean(spelled), rel=1e-9, abs=1e-9)


@given(st.floats(allow_nan=False), st.integers(1, 7))
def test_what_is_the_same_everywhere_is_its_own_mean(value: float, count: int):
    assert mean([value] * count) == value


def test_the_largest_floats_have_a_mean():
    assert mean([MOST, MOST, MOST]) == MOST
    assert mean([MOST, -MOST]) == 0.0
    assert mean([1e200, 1e200], [3, 4]) == 1e200


def test_a_deviation_whose_squares_no_float_holds_is_still_told():
    assert deviation([1e200, -1e200]) == pytest.approx(math.sqrt(2) * 1e200)
    assert deviation([1e-200, -1e-200]) == pytest.approx(math.sqrt(2) * 1e-200)


@pytest.mark.parametrize("values", [[math.inf, -math.inf], [math.nan, 1.0]])
def test_what_is_not_a_number_has_no_mean_and_no_deviation(values: list[float]):
    assert math.isnan(mean(values))
    assert math.isnan(deviation(values) or 0.0)
    assert mean_and_deviation(values) == "nan"


def test_an_infinite_value_makes_the_mean_infinite():
    assert mean([math.inf, 1.0]) == math.inf
    assert mean_and_deviation([math.inf, 1.0]) == "inf"


def test_in_words():
    assert mean_and_deviation([]) == "–"
    assert mean_and_deviation([0.123456]) == "0.1235"
    assert mean_and_deviation([0.5, 0.6]) == "0.55 ± 0.071"
