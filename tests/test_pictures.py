"""What was learned, as plain data and as drawings."""

import math
import re
from xml.etree import ElementTree

import pytest

from mlograph.charts import draw
from mlograph.pictures import Bars, Grid, Images, Lines, Picture, Spread, dumped, parsed

HOSTILE = "<script>alert(1)</script>\"'&"
PICTURES: list[Picture] = [
    Bars(title=HOSTILE, values=(1.0, -2.0, math.nan), labels=("a", HOSTILE, "c")),
    Bars(title="many", values=tuple(map(float, range(200)))),
    Bars(title="same", values=(0.0, 0.0)),
    Spread.of("weights", {"right": [0.9, 1.0, 1.0], HOSTILE: [0.0, 0.1, math.inf]}),
    Spread.of("nothing", {"x": []}),
    Spread.of("one value", {"x": [3.0] * 5}),
    Spread.of("tiny", {"x": [1e-300, 2e-300]}),
    Spread.of("huge", {"x": [-1e308, 1e308]}),
    Lines(title="f", lines={HOSTILE: ((0.0, 1.0), (1.0, math.nan), (2.0, 3.0))}, across="x"),
    Lines(title="no points", lines={"f": ()}),
    Grid(title="g", values=((1.0, -1.0), (math.inf, 0.0)), rows=(HOSTILE, "b"), columns=("x", "y")),
    Images(title="i", images=(f'"><b>{HOSTILE}',), captions=(HOSTILE,)),
]


@pytest.mark.parametrize("picture", PICTURES, ids=lambda one: f"{one.kind} {one.title[:8]}")
def test_every_picture_is_kept_as_text_and_drawn_without_harm(picture: Picture):
    (again,) = parsed(dumped([picture]))
    assert repr(again) == repr(picture)
    html = draw(picture)
    if not isinstance(picture, Images):
        ElementTree.fromstring(f"<div>{html}</div>")
    assert "<script" not in html
    assert "<b>" not in html
    assert 'nan"' not in html
    assert 'inf"' not in html


def test_a_spread_counts_every_finite_number_once():
    spread = Spread.of("w", {"a": [0.0, 0.5, 1.0, math.nan], "b": [1.0] * 10})
    assert {name: sum(counts) for name, counts in spread.counts.items()} == {"a": 3, "b": 10}
    assert (spread.edges[0], spread.edges[-1]) == (0.0, 1.0)
    assert spread.counts["b"][-1] == 10


def test_several_groups_have_a_legend():
    assert 'class="legend"' in draw(Spread.of("w", {"a": [1.0], "b": [2.0]}))
    assert 'class="legend"' not in draw(Spread.of("w", {"a": [1.0, 2.0]}))


@pytest.mark.parametrize(
    "text",
    [
        *("", "{}", '[{"kind": "movie"}]', '[{"kind": "bars"}]', "[1]"),
        '[{"kind": "spread", "title": "", "edges": [0, "inf"], "counts": {"a": [1]}}]',
        '[{"kind": "spread", "title": "", "edges": ["nan", 1], "counts": {}}]',
    ],
)
def test_other_files_are_no_pictures(text: str):
    with pytest.raises(ValueError, match="something else than pictures"):
        parsed(text)


def test_a_few_numbers_without_names_are_counted_and_told():
    shown = re.findall("<text[^>]*>([^<]*)</text>", draw(Bars(title="w", values=(-1.5, 1.25, 3.0))))
    assert {"0", "1", "2", "-1.5", "1.25", "3", "index"} <= set(shown)
    assert "0.5" not in shown


@pytest.mark.parametrize("values", [(-2.1, 1.7, 2.0), (-1e-3, 5.0), (-1.0,), (-1e307, 1e307)])
def test_no_number_of_a_bar_stands_on_its_name(values: tuple[float, ...]):
    drawn = draw(Bars(title="w", values=values, labels=tuple("abc")[: len(values)]))
    places = re.findall(r'<text x="([^"]*)" y="([^"]*)" text-anchor="middle">', drawn)
    heights: dict[str, list[float]] = {}
    for x, y in places:
        heights.setdefault(x, []).append(float(y))
    assert len(heights) == len(values)
    assert all(abs(one - other) >= 11 for one, other in heights.values())
