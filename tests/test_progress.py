"""Where a run is in its plan."""

from __future__ import annotations

import pytest

from mlograph.plan import Plan, Rate, Start, Step
from mlograph.progress import Progress


@pytest.fixture
def progress() -> Progress:
    """One warm-up step, then three lower steps an upper one; the upper ones are counted."""
    lower, upper = Step("lower"), Step("upper")
    period = (Start("lower"), lower, lower, lower, upper)
    return Progress(Plan((upper,), period, {"upper": Rate(1, 1)}, {}, "upper", 2))


def test_the_prologue_comes_once_and_the_period_again_and_again(progress: Progress):
    found = []
    for _ in range(11):
        found.append(str(progress.coming))
        progress.advance()
    period = ["Start(lower)", *3 * ["Step(lower)"], "Step(upper)"]
    assert found == ["Step(upper)", *period, *period]


def test_updates_of_the_counted_problem_count_but_for_the_warm_up(progress: Progress):
    counted = [number for number in range(11) if progress.advance()]
    assert counted == [5, 10]
    assert (progress.executed, progress.steps) == (11, 2)


def test_it_goes_on_where_it_was_and_so_does_its_clock(progress: Progress):
    for _ in range(7):
        progress.advance()
    progress.started -= 100
    again = Progress(progress.plan)
    again.load_state_dict(progress.state_dict())
    assert (again.executed, again.steps, again.ended) == (7, 1, None)
    assert again.coming == progress.coming
    assert 100 <= again.elapsed < 110
