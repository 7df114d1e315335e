"""The page about a run: what it shows, and that nothing in it can act."""

import math
import re
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import pytest

from mlograph.loggers.protocol import Record
from mlograph.report import Report, page
from mlograph.report.axis import fitting, linear, logarithmic, tick_text
from mlograph.report.chart import HEIGHT, WIDTH, chart
from mlograph.report.series import Series, gather, thin

HOSTILE = "<script>alert(1)</script>\"'&"


def report(*records: Record, **changes: Any) -> Report:
    fields = {
        "name": "imaml",
        "description": "",
        "command": "mlograph run imaml.yaml",
        "diagram": b'<?xml version="1.0"?><!DOCTYPE svg><svg id="drawn"></svg>',
        "plan": "5 × Step(inner)",
        "problems": ("outer", "inner"),
        "environment": "torch  2",
        "ended": "all steps made",
        "finished": True,
        "steps": 7500,
        "total": 7500,
        "seconds": 65.0,
        "records": records,
    }
    return Report(**(fields | changes))


class Page(HTMLParser):
    """The tags of a page, checked to be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag


def train(count: int) -> list[Record]:
    return [
        Record("train", i, 0.1 * i, {"outer.loss": 1 / i, "inner.loss": float(i), "inner.lr": 0.1})
        for i in range(1, count + 1)
    ]


def test_the_page_shows_everything_about_a_run():
    text = page(
        report(
            *train(20),
            Record("baseline", 0, 0.0, {"accuracy": 0.2}, text="no adaptation"),
            Record("validation", 10, 1.0, {"accuracy": 0.5, "loss": 1.0}),
            Record("validation", 20, 2.0, {"accuracy": 0.75, "loss": 0.5}),
            Record("event", 15, 1.5, text="CG stopped early"),
        )
    )
    Page(text)
    for shown in (
        "<h1>imaml</h1>",
        "all steps made",
        "7,500 of 7,500 updates · 1 min 05 s",
        "mlograph run imaml.yaml",
        "this run, step 20",
        "no adaptation",
        "CG stopped early",
        "5 × Step(inner)",
        "torch  2",
        '<svg id="drawn">',
        "Constant: lr 0.1",
    ):
        assert shown in text
    assert "<!DOCTYPE svg>" not in text
    # Two losses and two validation curves; the constant learning rate is not drawn.
    assert text.count('class="chart"') == 4
    titles = re.findall("<h2>(.*)</h2>", text)
    assert titles == [
        "Result", "Validation", "outer", "inner", "Events", "Graph", "Plan", "Environment",
    ]  # fmt: skip


def test_the_last_validation_stands_beside_the_baselines():
    text = page(
        report(
            Record("baseline", 0, 0.0, {"accuracy": 0.1}, text="pixels"),
            Record("validation", 5, 0.0, {"accuracy": 0.3, "loss": 2.0}),
            Record("validation", 9, 0.0, {"accuracy": 0.9, "loss": 1.0}),
        )
    )
    table = text[text.index("<table>") : text.index("</table>")]
    rows = [re.findall("<t[hd]>([^<]*)</t[hd]>", row) for row in table.split("<tr")]
    assert rows[1:] == [
        ["", "accuracy", "loss"],
        ["this run, step 9", "0.9", "1"],
        ["pixels", "0.1", "–"],
    ]


def test_what_was_never_measured_has_no_section():
    text = page(report(diagram=b""))
    assert re.findall("<h2>(.*)</h2>", text) == ["Plan", "Environment"]


def test_nothing_from_a_graph_or_a_run_is_taken_for_html():
    text = page(
        report(
            Record("train", 1, 0.0, {f"outer.{HOSTILE}": 1.0, HOSTILE: 2.0}),
            Record("train", 2, 0.0, {f"outer.{HOSTILE}": 1.5, HOSTILE: 3.0}),
            Record("validation", 1, 0.0, {HOSTILE: 1.0}),
            Record("validation", 2, 0.0, {HOSTILE: 2.0}),
            Record("baseline", 0, 0.0, {HOSTILE: 1.0}, text=HOSTILE),
            Record("event", 1, 0.0, text=HOSTILE),
            **dict.fromkeys(("name", "description", "command", "plan", "environment"), HOSTILE),
            ended=HOSTILE,
        )
    )
    assert "script" not in Page(text).tags
    assert "<script" not in text


def test_the_page_reaches_for_nothing_outside():
    text = page(report(*train(3)))
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|src=|@import|url\(", text.replace("default-src='none'", ""))


def test_many_events_are_cut_off():
    events = [Record("event", i, 0.0, text=f"event {i}.") for i in range(1000)]
    text = page(report(*events))
    assert "event 199." in text
    assert "event 200." not in text
    assert "and 800 more" in text


def test_a_long_run_makes_a_page_of_bounded_size():
    assert len(page(report(*train(20_000)))) < 120_000


def points(svg: str) -> list[tuple[float, float]]:
    line = re.search('<polyline class="curve" points="([^"]*)"', svg)
    assert line is not None
    return [tuple(map(float, pair.split(","))) for pair in line[1].split()]


@pytest.mark.parametrize(
    "values",
    [
        [1.0],
        [2.0, 2.0],
        [0.0, 0.0],
        [1e-8, 1.0, 1e8],
        [-1e308, 1e308],
        [1e308, 1.0],
        [5e-324, 1.0],
        [1.0, 1.0 + 1e-15],
        [math.nan, math.inf],
        [math.nan, 1.0],
        [],
    ],
)
def test_every_curve_stays_inside_its_chart(values: list[float]):
    (series,) = gather(
        [Record("train", i, 0.0, {"x": v}) for i, v in enumerate(values)], "train"
    ) or (Series("x", ()),)
    svg = chart(series, {"baseline": 3.0})
    ElementTree.fromstring(svg)
    assert "nan" not in svg.replace("step 0: nan", "")
    for x, y in points(svg):
        assert -0.1 <= x <= WIDTH + 0.1
        assert -0.1 <= y <= HEIGHT + 0.1


def test_a_falling_curve_falls():
    places = points(chart(Series("loss", ((1, 3.0), (2, 2.0), (3, 1.0)))))
    assert [x for x, _ in places] == sorted(x for x, _ in places)
    assert [y for _, y in places] == sorted(y for _, y in places)


def test_values_that_are_not_finite_are_marked_and_counted():
    records = [Record("train", i, 0.0, {"outer.loss": v}) for i, v in enumerate([1, math.nan, 2])]
    (series,) = gather(records, "train")
    assert series.points == ((0, 1.0), (2, 2.0))
    assert chart(series).count('class="broken"') == 1
    assert "1 not finite" in page(report(*records))


def test_a_chart_marks_least_and_greatest():
    svg = chart(Series("loss", ((0, 3.0), (5, 0.5), (9, 7.0))))
    assert "<title>min 0.5 at step 5</title>" in svg
    assert "<title>max 7 at step 9</title>" in svg


def test_thinning_keeps_ends_and_peaks():
    curve = tuple((i, 0.0) for i in range(10_000))
    curve = (*curve[:4321], (4321, 9.0), *curve[4322:7777], (7777, -9.0), *curve[7778:])
    thinned = thin(curve, 100)
    assert len(thinned) <= 110
    assert {curve[0], curve[4321], curve[7777], curve[-1]} <= set(thinned)
    assert list(thinned) == sorted(thinned)


def test_ticks_are_round_and_inside():
    axis = linear([0.13, 0.97], 0, 100)
    assert axis.ticks == (0.2, 0.4, 0.6, 0.8)
    assert linear([0, 7500], 0, 100).ticks == (0, 2000, 4000, 6000)
    assert logarithmic([3e-7, 20], 0, 100).ticks == (1e-6, 1e-4, 1e-2, 1.0)


def test_wide_ranges_of_positive_values_are_logarithmic():
    assert fitting([1e-3, 2.0], 0, 100).log
    assert not fitting([1e-3, 0.9], 0, 100).log
    assert not fitting([0.0, 1e9], 0, 100).log


def test_ticks_are_written_short():
    assert [tick_text(value) for value in (2500, 0.05, 1e-6, 2e9)] == [
        "2500",
        "0.05",
        "1e-06",
        "2e+09",
    ]
