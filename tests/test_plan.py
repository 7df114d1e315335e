"""Flat plans and how they are read."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlograph.plan import (
    Backward,
    EnvStep,
    Folded,
    Instruction,
    Plan,
    Rate,
    Repeat,
    Start,
    Step,
    Update,
    fold,
    text,
)


def unfolded(folded: Iterable[Folded]) -> list[Instruction]:
    flat: list[Instruction] = []
    for item in folded:
        flat += unfolded(item.body) * item.times if isinstance(item, Repeat) else [item]
    return flat


ALPHABET = (EnvStep(), Start("a"), Step("a"), Backward("b"), Update("b"))


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ([], ""),
        ([EnvStep(), Start("a"), Update("b"), Step("a")], "EnvStep, Start(a), Update(b), Step(a)"),
        ([Step("a")] * 5, "5 × Step(a)"),
        ([Step("a"), Step("b")] * 3, "3 × [Step(a), Step(b)]"),
        (
            [Start("a"), *[Step("a")] * 2, Step("b")] * 3 + [Update("c")],
            "3 × [Start(a), 2 × Step(a), Step(b)], Update(c)",
        ),
        (([Step("a")] * 2 + [Step("b")]) * 2, "2 × [2 × Step(a), Step(b)]"),
        ([Step("a"), Step("a"), Step("b"), Step("a")], "2 × Step(a), Step(b), Step(a)"),
    ],
)
def test_text(instructions: list[Instruction], expected: str):
    assert text(instructions) == expected


@given(st.lists(st.sampled_from(ALPHABET), max_size=60))
def test_a_folded_plan_is_the_same_plan(instructions: list[Instruction]):
    folded = fold(instructions)
    assert unfolded(folded) == instructions
    assert len(folded) <= len(instructions)


@given(
    st.lists(st.sampled_from(ALPHABET), min_size=1, max_size=4),
    st.integers(2, 6),
    st.integers(2, 6),
)
def test_loops_in_loops_are_found(body: list[Instruction], inner: int, outer: int):
    flat = (body * inner + [Step("outer")]) * outer
    folded = fold(flat)
    assert len(folded) == 1
    assert isinstance(folded[0], Repeat)
    assert folded[0].times == outer


def test_a_long_plan_is_folded_quickly():
    flat = ([Start("a")] + [Step("a")] * 50 + [Step("b")]) * 1000
    assert text(flat) == "1000 × [Start(a), 50 × Step(a), Step(b)]"


@pytest.mark.parametrize(("steps", "updates", "periods"), [(10, 1, 10), (10, 4, 3), (8, 4, 2)])
def test_periods_are_as_many_as_the_counted_problem_needs(steps: int, updates: int, periods: int):
    plan = Plan((), (), {"a": Rate(updates, updates)}, {}, "a", steps)
    assert plan.periods == periods
