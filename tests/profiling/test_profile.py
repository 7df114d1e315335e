"""Sums by instruction and by problem, and their table."""

from __future__ import annotations

import json

import pytest

from mlograph.plan import Backward, EnvStep, Step, Tasks
from mlograph.profiling import Aside, Profile, as_text
from mlograph.profiling.stopwatch import Memory, Timed
from mlograph.profiling.table import seconds

MIB = 1024 * 1024


def over(
    activity: object, own: float, aside: Aside = Aside.RUN, peak: int = 0, whole: float = 0.0
) -> Timed:
    memory = Memory(peak * MIB, peak * MIB // 10) if peak else None
    return Timed(activity, aside, 1, whole or own, own, memory)  # type: ignore[arg-type]


def profile() -> Profile:
    found = Profile("cpu (2 threads)", "the process")
    for own, peak in ((0.01, 100), (0.03, 140)):
        found.note(over(Step("inner"), own, peak=peak))
    found.note(over(Backward("outer"), 0.02, peak=120))
    found.note(over(EnvStep(), 0.01, peak=90))
    found.note(over(Backward("outer"), 0.1, Aside.VALIDATION, peak=200))
    found.note(over(Aside.VALIDATION, 0.02, Aside.VALIDATION, peak=210, whole=0.12))
    found.note(over(Aside.RUN, 0.01, peak=250, whole=0.2))
    return found


def test_rows_are_sums_and_the_longest_comes_first():
    rows = {row.name: row for row in profile().instructions()}
    assert [*rows] == ["validation", "Step(inner)", "Backward(outer)", "EnvStep(env)", "the rest"]
    step = rows["Step(inner)"]
    assert (step.calls, step.seconds, step.mean, step.longest) == (2, 0.04, 0.02, 0.03)
    assert step.share == pytest.approx(0.2)
    assert (step.peak, step.growth) == (140 * MIB, 14 * MIB)


def test_shares_add_up():
    found = profile()
    assert sum(row.share for row in found.instructions()) == pytest.approx(1.0)
    assert found.seconds == pytest.approx(0.2)
    assert found.peak == 250 * MIB


def test_a_validation_is_one_call_whatever_it_executes():
    row = next(row for row in profile().instructions() if row.kind == "validation")
    assert (row.calls, row.seconds, row.longest) == (1, pytest.approx(0.12), 0.12)


def test_problems_have_the_sums_of_their_instructions():
    found = profile()
    found.note(over(Step("outer"), 0.05))
    rows = {row.name: row for row in found.problems()}
    assert (rows["outer"].calls, rows["outer"].seconds) == (2, pytest.approx(0.07))
    assert rows["outer"].peak == 120 * MIB
    assert [*rows] == ["outer", "inner", "env"]


def test_loops_at_once_are_those_of_two_problems():
    found = Profile()
    found.note(over(Tasks("outer", "inner", 4, ()), 1.0))
    assert [row.name for row in found.instructions()] == ["Tasks(inner, outer)"]


def test_the_table():
    assert as_text(profile()).splitlines() == [
        "instruction      calls    total     mean  longest  share       peak     growth",
        "validation           1   120 ms   120 ms   120 ms  60.0%  210.0 MiB  +21.0 MiB",
        "Step(inner)          2  40.0 ms  20.0 ms  30.0 ms  20.0%  140.0 MiB  +14.0 MiB",
        "Backward(outer)      1  20.0 ms  20.0 ms  20.0 ms  10.0%  120.0 MiB  +12.0 MiB",
        "EnvStep(env)         1  10.0 ms  10.0 ms  10.0 ms   5.0%   90.0 MiB   +9.0 MiB",
        "the rest                10.0 ms                     5.0%  250.0 MiB  +25.0 MiB",
        "",
        "problem  calls    total     mean  longest  share       peak     growth",
        "inner        2  40.0 ms  20.0 ms  30.0 ms  20.0%  140.0 MiB  +14.0 MiB",
        "outer        1  20.0 ms  20.0 ms  20.0 ms  10.0%  120.0 MiB  +12.0 MiB",
        "env          1  10.0 ms  10.0 ms  10.0 ms   5.0%   90.0 MiB   +9.0 MiB",
        "",
        "200 ms on cpu (2 threads), at most 250.0 MiB (the process)",
    ]


def test_columns_that_were_not_measured_are_left_out():
    found = Profile("cpu")
    found.note(over(Step("inner"), 0.5))
    head = as_text(found).splitlines()[0]
    assert "peak" not in head and "growth" not in head


def test_a_profile_is_plain_json():
    found = json.loads(json.dumps(profile().as_dict()))
    assert found["memory"] == {"of": "the process", "peak": 250 * MIB}
    assert found["instructions"][1]["kind"] == "Step"
    assert found["instructions"][1]["mean"] == 0.02
    assert {row["problem"] for row in found["problems"]} == {"inner", "outer", "env"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0000005, "0.50 µs"), (0.0123, "12.3 ms"), (1.5, "1.50 s"), (12345.6, "12,346 s")],
)
def test_durations_have_three_digits(value: float, text: str):
    assert seconds(value) == text
