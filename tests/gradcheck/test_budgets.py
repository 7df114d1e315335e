"""What a check does with the time that it has."""

from __future__ import annotations

import math
from typing import Any

from cases import Maml, nested

from mlograph import Graph
from mlograph.components import Imports
from mlograph.gradcheck import Settings, UpperReport
from mlograph.gradcheck.clock import Clock
from mlograph.gradcheck.place import reach
from mlograph.gradcheck.references import as_run
from mlograph.gradcheck.variants import Variant, apart


def checked(declared: Graph, **rest: Any) -> UpperReport:
    settings = Settings(repeats=1, directions=2, tol=1e-6, **rest)
    (report,) = declared.gradcheck(settings).uppers
    return report


def test_without_time_there_is_what_the_graph_asks_for_and_what_is_missing():
    report = checked(Maml(weight=0.7).graph("cg"), methods=("exact", "unroll"), budget=1e-9)
    assert [one.trouble for one in report.references] == [
        "not done within 0 s; --budget gives more time"
    ] * 2
    own, *others = report.rows
    assert own.seconds > 0.0
    assert {row.failure for row in others} == {"no time was left (--budget gives more)"}
    assert report.notes == (
        "there was no time to measure all that advice goes by; --budget gives more",
    )
    assert not report.passed


def test_without_limit_all_is_there():
    report = checked(Maml(weight=0.7).graph("unroll"), methods=("cg",), budget=math.inf)
    assert report.passed
    assert not report.notes


def test_the_time_is_shared_among_the_uppers():
    told: list[str] = []
    settings = Settings(methods=("exact",), directions=1, repeats=1)
    nested(partial=False).graph("exact").gradcheck(settings, told.append)
    assert {text.split(":")[0] for text in told} == {"middle", "top"}
    assert "top: solving what is below it" in told
    assert "top: the loss along direction 1 of 1, everything solved" in told
    assert "middle: exact" in told


def test_directions_that_time_ran_out_for_are_missing():
    """The clock stands still until the second direction is looked at."""
    declared = Maml(weight=0.7).graph("unroll")
    variant, settings = Variant.of(apart(declared.spec, "float64"), Imports()), Settings()
    now = [0.0]

    def tell(text: str) -> None:
        now[0] += 100.0 * ("direction 2" in text)

    clock = Clock(60.0, tell, lambda: now[0])
    with reach(variant, "outer", None) as place, clock.at_most(50.0):
        found = as_run(place, place.bound(), settings, clock)
    assert (len(found.slopes), found.asked, found.holds) == (1, 3, True)


def test_cheap_methods_come_first():
    told: list[str] = []
    settings = Settings(methods=("cg", "unroll", "first_order", "darts"), directions=1)
    (report,) = Maml(weight=0.7).graph("exact").gradcheck(settings, told.append).uppers
    names = [text.removeprefix("outer: ") for text in told][-4:]
    assert names[0] == "first_order"
    assert names[-1] == "cg (iterations 10)"
    assert [row.method for row in report.rows] == [
        "exact",
        "cg",
        "unroll",
        "first_order",
        "darts",
    ]
