"""What was read ahead counts where the generators stand as they stood there."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest

from mlograph.errors import UsageError
from mlograph.prefetch.ahead import Ahead
from mlograph.prefetch.chance import Chance
from mlograph.prefetch.following import NotAheadError
from mlograph.prefetch.messages import Drawn, Ended, Failed, Go, More
from mlograph.prefetch.packing import packed

PYTHONS = 2


class Script:
    """A helper that says what it was told to say."""

    number = 0
    has_answered = True

    def __init__(self, answers: Sequence[Any]) -> None:
        self.answers = [*answers]
        self.sent: list[type] = []

    def send(self, message: object) -> None:
        self.sent.append(type(message))

    def receive(self) -> Any:
        return self.answers.pop(0)

    def close(self) -> None: ...


def moved_here() -> dict[int, tuple[Any, Any]]:
    """One draw of Python's generator from where it is, without moving it."""
    before = random.getstate()
    random.random()
    after = random.getstate()
    random.setstate(before)
    return {PYTHONS: (before, after)}


def drawn(moved: dict[int, tuple[Any, Any]], printed: str = "") -> Drawn:
    return Drawn("batch", moved, b"", (printed, ""))


def ahead(*answers: Any) -> tuple[Ahead, Script]:
    helper = Script(answers)
    return Ahead(helper, Chance(None), 3), helper


def test_a_batch_leaves_the_generators_as_reading_it_here_would(
    capsys: pytest.CaptureFixture[str],
):
    moved = moved_here()
    lane, helper = ahead(drawn(moved, "read\n"))
    assert lane.take().batch == "batch"
    assert random.getstate() == moved[PYTHONS][1]
    assert capsys.readouterr().out == "read\n"
    assert helper.sent == [Go, More]


def test_a_batch_of_other_numbers_does_not_count():
    moved = moved_here()
    random.random()
    stands = random.getstate()
    lane, helper = ahead(drawn(moved))
    with pytest.raises(NotAheadError, match="it draws random numbers from Python's random, as"):
        lane.take()
    assert random.getstate() == stands
    assert helper.sent == [Go]


def test_another_epoch_begins_with_the_numbers_that_there_are_then():
    lane, helper = ahead(Ended(), drawn({}))
    assert lane.take().batch == "batch"
    assert helper.sent == [Go, Go, More]


def test_where_two_epochs_end_at_once_there_is_nothing_to_take():
    lane, _ = ahead(Ended(), Ended())
    with pytest.raises(NotAheadError, match=r"^$"):
        lane.take()


def test_a_failure_is_the_runs_own_if_it_was_the_same_here():
    moved = moved_here()
    lane, _ = ahead(Failed(moved, packed(UsageError("empty")), ("", "")))
    with pytest.raises(UsageError, match="empty"):
        lane.take()
    assert random.getstate() == moved[PYTHONS][1]


def test_a_failure_that_says_nothing_is_found_out_here():
    moved = moved_here()
    lane, _ = ahead(Failed(moved, None, ("", "")))
    with pytest.raises(NotAheadError, match=r"^$"):
        lane.take()
    assert random.getstate() == moved[PYTHONS][0]
