"""Whether it pays to read ahead."""

from __future__ import annotations

import pytest

from mlograph.prefetch.choice import Choice


def timed(reading: float, between: float, depth: int = 1) -> Choice:
    """A choice after the first batches; those that are taken at once cost their reading alone."""
    choice = Choice(depth)
    for number in range(100):
        begins = number % depth == 0
        last = between - (depth - 1) * reading if begins else reading
        choice.took(reading, None if number == 0 else last)
    return choice


@pytest.mark.parametrize(
    ("reading", "between", "left", "worth"),
    [
        (0.02, 0.06, 1000, True),  # 20 s
        (0.02, 0.06, 400, False),  # 8 s
        (0.0001, 0.06, 1_000_000, False),  # less than the clock can tell
        (0.059, 0.06, 1_000_000, False),  # nothing to do meanwhile
        (0.04, 0.06, 1000, True),
    ],
)
def test_what_is_saved_is_the_shorter_of_reading_and_the_rest(
    reading: float, between: float, left: int, worth: bool
):
    assert timed(reading, between).worth(left) is worth


def test_the_first_batch_and_a_slow_one_do_not_count():
    choice = Choice(1)
    for number in range(6):
        assert not choice.known
        choice.took(5.0 if number in {0, 3} else 0.02, None if number == 0 else 0.06)
    choice.took(0.02, 0.06)
    assert choice.known
    assert (choice.reading, choice.here) == (0.02, 0.06)


def test_no_more_is_remembered_than_is_needed():
    assert len(timed(0.02, 0.06).seconds) == 7


def test_batches_that_come_at_once_are_measured_together():
    choice = timed(0.02, 1.0, depth=4)
    assert choice.known
    assert choice.here == pytest.approx(0.25)
    assert choice.worth(1000)


def test_what_was_found_is_told():
    choice = timed(0.02, 0.06)
    choice.ahead = [0.3] + [0.045] * 5
    choice.way = "ahead"
    assert choice.tried
    assert choice.words("env") == (
        "env: reading takes 0.02 s of 0.06 s from one batch to the next, and 0.045 s are left "
        "where it is read ahead: from here engine.execution.prefetch is on for it"
    )
