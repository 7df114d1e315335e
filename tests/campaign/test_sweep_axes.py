"""Words of a command → axes: ranges, lists, distributions, and what is wrong with them."""

from __future__ import annotations

import random

import pytest

from mlograph.campaign.axes import read_axes
from mlograph.campaign.values import Choice
from mlograph.errors import Fault, GraphError, Location


def choices(word: str) -> list[str]:
    (axis,) = read_axes([word]).axes
    return [choice.text for choice in axis.choices]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ("1,5,10", ["1", "5", "10"]),
        ("0..4", ["0", "1", "2", "3", "4"]),
        ("0..4,10", ["0", "1", "2", "3", "4", "10"]),
        ("-2..1", ["-2", "-1", "0", "1"]),
        ("1..10..4", ["1", "5", "9"]),
        ("10..0..-5", ["10", "5", "0"]),
        ("3..3", ["3"]),
        ("0.1..0.5..0.1", ["0.1", "0.2", "0.3", "0.4", "0.5"]),
        ("1e-4..1e-1:log:4", ["0.0001", "0.001", "0.01", "0.1"]),
        ("0.0..1.0:uniform:5", ["0.0", "0.25", "0.5", "0.75", "1.0"]),
        ("1..1000:log:4", ["1", "10", "100", "1000"]),
        ("[1,2],[3,4]", ["[1,2]", "[3,4]"]),
        ("{a: 1, b: 2},x", ["{a: 1, b: 2}", "x"]),
        ("'a,b',c", ["'a,b'", "c"]),
        ("cg,darts", ["cg", "darts"]),
        ("../a.zip,../b.zip", ["../a.zip", "../b.zip"]),
    ],
)
def test_values(values: str, expected: list[str]):
    assert choices(f"a.b={values}") == expected


@pytest.mark.parametrize("word", ["a=1", "a=[1,2]", "a='1,2'", "a=../x", "~a", "a=", "+a=1"])
def test_one_value_is_an_override_for_all_runs(word: str):
    assert read_axes([word]).axes == ()
    assert read_axes([word]).overrides({}) == (word,)


@pytest.mark.parametrize(
    ("word", "column", "message"),
    [
        ("a=0..x", 3, "'0..x' is no range"),
        ("a=1,2..5..x", 5, "'2..5..x' is no range"),
        ("a=5..1", 3, "'5..1' is empty: steps of 1 do not lead there"),
        ("a=1..5..0", 3, "'1..5..0' is empty: steps of 0 do not lead there"),
        ("a=0.1..0.4", 3, "'0.1..0.4' has no step, and its ends are not whole"),
        ("a=0..100000", 3, "'0..100000' is 100,001 values, at most 10,000"),
        ("a=1,,2", 5, "a value is missing here"),
        ("a=1,", 5, "a value is missing here"),
        ("a=1,2,1", 7, "1 is there twice"),
        ("a=0..3,2", 8, "2 is there twice"),
        ("a=1..9:lgo", 8, "no distribution 'lgo'"),
        ("a=0.0..1.0:log", 3, "a logarithm needs numbers above 0"),
        ("a=2.0..1.0:uniform", 3, "'2.0..1.0:uniform' is empty: 2 is not below 1"),
        ("a=1.0..2.0:log:x", 17, "'x' is no number of values"),
        ("a=1,1.0..2.0:log", 5, "'1.0..2.0:log' is drawn from, so it cannot be one of several"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(word: str, column: int, message: str):
    with pytest.raises(GraphError) as caught:
        read_axes(["first=1", word])
    (fault,) = caught.value.faults
    assert fault.message == message
    assert fault.location == Location("overrides", 2, column, word)


def test_everything_wrong_is_said_at_once():
    with pytest.raises(GraphError) as caught:
        read_axes(["a=0..x", "b=1,2", "b=3,4", "c=1,,2"])
    assert [fault.location.line for fault in caught.value.faults if fault.location] == [1, 3, 4]


def test_a_fault_of_one_run_is_placed_in_the_word_that_made_it():
    words = ["name=x", "a.b=1, zwei ,3", "c=0..2"]
    axes = read_axes(words)
    chosen = {"a.b": axes.axes[0].choices[1], "c": axes.axes[1].choices[2]}
    assert axes.overrides(chosen) == ("name=x", "a.b= zwei ", "c=2")
    faults = [
        Fault(("a", "b"), "m", "", Location("overrides", 2, 6, "a.b= zwei ")),
        Fault(("a", "b"), "m", "", Location("overrides", 2, 3, "a.b= zwei ")),
        Fault(("c",), "m", "", Location("overrides", 3, 3, "c=2")),
        Fault(("d",), "m", "", Location("graph.yaml", 3, 3, "d: 2")),
    ]
    placed = [fault.location for fault in axes.located(faults, chosen).faults]
    assert placed == [
        Location("overrides", 2, 8, words[1]),
        Location("overrides", 2, 3, words[1]),
        Location("overrides", 3, 3, words[2]),
        Location("graph.yaml", 3, 3, "d: 2"),
    ]


def test_labels_are_as_short_as_they_can_be():
    axes = read_axes(["engine.seed=0,1", "problems.a.optimizer.lr=1,2", "problems.b.lr=1,2"])
    assert axes.labels() == {
        "engine.seed": "seed",
        "problems.a.optimizer.lr": "optimizer.lr",
        "problems.b.lr": "b.lr",
    }


@pytest.mark.parametrize(
    ("values", "low", "high", "middle"),
    [
        ("1e-4..1e-2:log", 1e-4, 1e-2, 1e-3),
        ("-1.0..3.0:uniform", -1.0, 3.0, 1.0),
        ("1..3:uniform", 1, 3, 2),
        ("1..100:log", 1, 100, 7),
    ],
)
def test_what_is_drawn_lies_within_and_on_both_sides_of_the_middle(
    values: str, low: float, high: float, middle: float
):
    (axis,) = read_axes([f"a={values}"]).axes
    assert axis.choices == ()
    assert axis.span is not None
    source = random.Random(0)
    drawn = [axis.span.draw(source) for _ in range(2000)]
    assert all(low <= float(text) <= high for text in drawn)
    below = sum(float(text) < middle for text in drawn)
    above = sum(float(text) > middle for text in drawn)
    assert abs(below - above) < 200
    assert all(text.isdigit() for text in drawn) == axis.span.whole
    assert Choice(axis.span.text(low)).text == axis.span.text(axis.span.at(0.0))
