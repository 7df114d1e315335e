"""What is told and measured of the instructions of a window."""

from __future__ import annotations

import pytest
from task_graphs import tasks


def test_instructions_of_a_window_are_counted_beside_it():
    result = tasks("sequential", count=2).run(quiet=True, profile=True)
    at_once = tasks("vectorized", count=2).run(quiet=True, profile=True)
    assert result.profile is not None and at_once.profile is not None
    names = {row.name: row.calls for row in result.profile.instructions()}
    assert names["Step(lower)"] == 3 * 2 * 3
    names = {row.name: row.calls for row in at_once.profile.instructions()}
    assert names["Tasks(lower, upper)"] == 3
    assert "Step(lower)" not in names


def test_what_lies_within_a_window_is_indented(capsys: pytest.CaptureFixture[str]):
    tasks("auto", count=2, engine={"steps": 1}).run(verbose=True)
    names = [line.rpartition("  ")[0] for line in capsys.readouterr().out.splitlines()]
    assert names[:2] == ["  EnvStep"] * 2
    assert "  Backward(upper)" in names
    assert names[names.index("Update(upper)") - 1] == "Tasks(upper, 2 × lower)"
