"""Curves: where the axes stand, what is condensed, and that nothing leaves its chart."""

import itertools
import math
import re
from xml.etree import ElementTree

import pytest

from mlograph.charts import DISTINCT, Curve, chart, overlay, style
from mlograph.charts.axis import fitting, linear, logarithmic, tick_text
from mlograph.charts.chart import HEIGHT, WIDTH, key
from mlograph.charts.figures import curve_figure, importance, meaning
from mlograph.charts.series import Series, Stretch, condense, gather
from mlograph.loggers.protocol import Record


def points(svg: str) -> list[tuple[float, float]]:
    found = re.findall('<polyline class="curve[^"]*"[^>]* points="([^"]*)"', svg)
    return [
        (float(x), float(y))
        for line in found
        for x, y in (pair.split(",") for pair in line.split())
    ]


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
        [1e308] * 999,
        [-1e308, 1e308] * 500,
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


def test_a_single_value_is_a_dot():
    assert chart(Series("loss", ((1, 3.0),))).count('class="dot') == 1


def test_values_that_are_not_finite_are_marked():
    records = [Record("train", i, 0.0, {"outer.loss": v}) for i, v in enumerate([1, math.nan, 2])]
    (series,) = gather(records, "train")
    assert series.points == ((0, 1.0), (2, 2.0))
    assert chart(series).count('class="broken"') == 1


def test_a_figure_tells_the_last_the_least_and_the_greatest():
    html = curve_figure("loss", Series("loss", ((0, 3.0), (5, 0.5), (1009, 7.0))))
    assert "last 7" in html
    assert '<span title="at step 5">min 0.5</span>' in html
    assert '<span title="at step 1,009">max 7</span>' in html


def test_stretches_hold_every_point_and_tell_every_peak():
    curve = tuple((i, 0.0) for i in range(10_000))
    curve = (*curve[:4321], (4321, 9.0), *curve[4322:7777], (7777, -9.0), *curve[7778:])
    found = condense(curve, 100)
    assert len(found) == 100
    assert max(one.high for one in found) == 9.0
    assert min(one.low for one in found) == -9.0
    assert (found[0].first, found[-1].last) == (0, 9999)
    assert all(one.last + 1 == other.first for one, other in itertools.pairwise(found))
    assert condense(((3, 1.0), (4, 2.0)), 100) == (
        Stretch(3, 3, 1.0, 1.0, 1.0),
        Stretch(4, 4, 2.0, 2.0, 2.0),
    )
    assert condense((), 100) == ()


def test_a_long_curve_is_a_mean_and_a_band():
    long = Series("loss", tuple((i, float(i % 2)) for i in range(5000)))
    svg = chart(long)
    assert svg.count('class="band') == 1
    assert "mean 0.5" in svg.replace("0.4878", "0.5").replace("0.5122", "0.5")
    assert len(svg) < 40_000
    assert 'class="band' not in chart(Series("loss", long.points[:50]))


def test_curves_over_one_another_differ_in_colour_then_in_dash():
    assert len({key(style) for style in range(DISTINCT)}) == DISTINCT
    svg = overlay(
        "loss", [Curve(Series("loss", ((0, 1.0), (1, i))), f"run {i}", i) for i in (0, 9)]
    )
    assert "run 9, step 1: 9" in svg
    assert 'class="curve c0"' in svg
    assert 'class="curve c1" stroke-dasharray="7 3"' in svg


def test_many_long_curves_are_of_bounded_size():
    long = tuple((i, math.sin(i / 100)) for i in range(3000))
    svg = overlay("loss", [Curve(Series("loss", long), f"run {i}", i) for i in range(DISTINCT)])
    assert len(svg) < 60_000


def test_ticks_are_round_and_inside():
    axis = linear([0.13, 0.97], 0, 100)
    assert axis.ticks == (0.2, 0.4, 0.6, 0.8)
    assert linear([0, 7500], 0, 100).ticks == (0, 2000, 4000, 6000)
    assert logarithmic([3e-7, 20], 0, 100).ticks == (1e-6, 1e-4, 1e-2, 1.0)


def test_wide_ranges_of_positive_values_are_logarithmic_and_say_so():
    assert fitting([1e-3, 2.0], 0, 100).log
    assert not fitting([1e-3, 0.9], 0, 100).log
    assert not fitting([0.0, 1e9], 0, 100).log
    assert ">log</text>" in chart(Series("loss", ((0, 1e-6), (1, 1.0))))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2500, "2500"),
        (20_000, "20k"),
        (1.5e6, "1.5M"),
        (0.05, "0.05"),
        (1e-6, "1e-06"),
        (2e9, "2e+09"),
    ],
)
def test_ticks_are_written_short(value: float, text: str):
    assert tick_text(value) == text


def test_losses_come_first_and_bookkeeping_last():
    names = ["lr", "solves_converged", "residual", "accuracy", "gradient_norm", "loss"]
    assert sorted(names, key=importance) == [
        "loss", "accuracy", "gradient_norm", "residual", "solves_converged", "lr",
    ]  # fmt: skip
    assert "hypergradient" in meaning("gradient_norm", upper=True)
    assert "hypergradient" not in meaning("gradient_norm", upper=False)
    assert meaning("accuracy", upper=True) == ""


def contrast(one: str, other: str) -> float:
    """The ratio of luminances, as WCAG 2 has it."""

    def luminance(colour: str) -> float:
        channels = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        red, green, blue = (
            c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    dark, light = sorted([luminance(one), luminance(other)])
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("screen", [0, 1])
def test_every_colour_can_be_seen_on_its_card(screen: int):
    css = style().split("@media (prefers-color-scheme: dark)")[screen]
    colours = dict(re.findall(r"--(\w+): (#\w{6})", css))
    for name in (f"c{i}" for i in range(8)):
        assert contrast(colours[name], colours["card"]) >= 3.0, name
    for name in ("text", "quiet", "bad"):
        assert contrast(colours[name], colours["card"]) >= 4.5, name
