"""Axes → runs: combinations, draws, and the names of their folders."""

from __future__ import annotations

import pytest

from mlograph.campaign.axes import read_axes
from mlograph.campaign.settings import Run, count, repeated, settings
from mlograph.errors import GraphError, UsageError


def runs(*words: str, draws: int | None = None, seed: int = 0) -> list[Run]:
    axes = read_axes(words)
    return [
        run
        for number, chosen in enumerate(settings(axes, draws, seed))
        for run in repeated(axes, number, chosen)
    ]


def test_all_combinations_with_the_seeds_of_a_setting_together():
    found = runs("engine.seed=0,1", "a=x,y", "+b=1..2")
    assert [run.overrides for run in found] == [
        (f"engine.seed={seed}", f"a={a}", f"+b={b}")
        for a in "xy"
        for b in (1, 2)
        for seed in (0, 1)
    ]
    assert [run.setting for run in found] == [0, 0, 1, 1, 2, 2, 3, 3]
    assert found[0].name == "a=x,b=1,seed=0"
    assert found[0].values == {"a": "x", "b": "1", "engine.seed": "0"}


def test_drawn_settings_differ_and_each_has_all_seeds():
    words = ("engine.seed=0..2", "a=1e-3..1.0:log", "b=x,y")
    found = runs(*words, draws=5)
    assert len(found) == count(read_axes(words), 5) == 15
    assert len({run.values["a"] + run.values["b"] for run in found}) == 5
    assert {run.values["engine.seed"] for run in found} == {"0", "1", "2"}


def test_the_first_draws_do_not_depend_on_how_many_there_are():
    words = ("a=1e-3..1.0:log", "b=x,y")
    few, many = runs(*words, draws=3), runs(*words, draws=7)
    assert [run.name for run in few] == [run.name for run in many[:3]]
    assert [run.name for run in runs(*words, draws=3, seed=1)] != [run.name for run in few]


def test_more_draws_than_combinations_are_all_combinations():
    assert [run.name for run in runs("a=1,2", "b=1,2", draws=9)] == [
        run.name for run in runs("a=1,2", "b=1,2")
    ]
    assert count(read_axes(["a=1,2", "b=1,2"]), 9) == 4


def test_some_combinations_are_drawn_without_repetition():
    found = runs("a=1..5", "b=1..5", draws=20)
    assert len(found) == len({run.name for run in found}) == 20


def test_too_few_numbers_to_draw_from_are_said():
    with pytest.raises(UsageError, match="--random 5: after 3 draws hardly any are new"):
        runs("a=1..3:uniform", draws=5)


def test_drawing_needs_a_number_of_draws():
    with pytest.raises(GraphError) as caught:
        count(read_axes(["name=x", "a=1e-3..1.0:log"]), None)
    assert str(caught.value) == (
        "overrides:2:3: a: says what to draw from, and not how often "
        "(give --random N or --optuna N, or how many: 1e-3..1.0:log:5)\n"
        "    a=1e-3..1.0:log\n"
        "      ^"
    )


def test_seeds_are_listed():
    with pytest.raises(GraphError, match="list seeds, as in engine"):
        runs("engine.seed=0..9:uniform", "a=1,2", draws=2)


@pytest.mark.parametrize(
    "value", ["../x", "a b", "ü", "a/b", "[1, 2]", "x" * 300, "null", "a:b", "*", "'x'"]
)
def test_every_name_is_one_folder_and_tells_values_apart(value: str):
    (one, other) = runs(f"a={value},other")
    assert one.name != other.name
    assert len(one.name) < 150
    assert one.name.startswith("a=")
    assert not set(one.name) & set("/\\: *'\"")


def test_names_that_are_made_safe_stay_different():
    names = [run.name for run in runs("a=x/y,x:y,x-y")]
    assert len(set(names)) == 3
