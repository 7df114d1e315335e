"""The built-in layout, and graphs that are large."""

from __future__ import annotations

import itertools
import random
import time
import xml.etree.ElementTree as ET
from typing import Any

import pytest
from diagram_cases import CASES, compiled, edges, problem
from hypothesis import given, settings
from hypothesis import strategies as st

from mlograph.diagrams import render
from mlograph.diagrams.drawing import draw
from mlograph.diagrams.layers import arrange


def large(count: int) -> dict[str, Any]:
    chance = random.Random(0)
    pairs = [
        (low, high)
        for low in range(1, count)
        for high in {chance.randrange(max(0, low - 30), low) for _ in range(2)}
    ]
    texts = [f"l2u: p{low} -> p{high}" for low, high in pairs]
    texts += [f"u2l: p{high} -> p{low}" for low, high in pairs]
    return {
        "name": "large",
        "problems": {f"p{i}": problem() for i in range(count)},
        "edges": edges(*texts),
    }


@pytest.mark.parametrize("name", CASES)
def test_uppers_stand_above_lowers(name: str):
    graph, plan = compiled(CASES[name]())
    drawing = draw(graph, plan)
    levels = {node.name: node.level for node in drawing.nodes}
    for edge in drawing.edges:
        assert levels[edge.upper] < levels[edge.lower]
    for edge in graph.spec.edges:
        if edge.kind == "l2u":
            assert levels[edge.target] < levels[edge.source]


def test_a_hidden_problem_stands_between():
    drawing = draw(*compiled(CASES["hidden-path"]()))
    assert [node.level for node in drawing.nodes] == [0, 1, 2]


def test_crossings_are_undone():
    levels = {"a": 0, "b": 0, "c": 1, "d": 1}
    layers = arrange(levels, dict.fromkeys(levels, 10.0), [("a", "d"), ("b", "c")], gap=5.0)
    x = layers.centres
    assert (x["a"] < x["b"]) == (x["d"] < x["c"])


def test_a_long_edge_goes_round_what_it_passes():
    levels = {"top": 0, "mid": 1, "leaf": 2}
    pairs = [("top", "mid"), ("mid", "leaf"), ("top", "leaf")]
    layers = arrange(levels, dict.fromkeys(levels, 100.0), pairs, gap=20.0)
    (bend,) = layers.chain("top", "leaf")[1:-1]
    assert abs(layers.centres[bend] - layers.centres["mid"]) >= 50 + 20 - 1e-9


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 12), st.data())
def test_cards_never_overlap(count: int, data: st.DataObject):
    levels = {f"n{i}": data.draw(st.integers(0, 3)) for i in range(count)}
    widths = {name: data.draw(st.floats(10, 200)) for name in levels}
    pairs = [
        (a, b) for a in levels for b in levels if levels[a] < levels[b] and data.draw(st.booleans())
    ]
    layers = arrange(levels, widths, pairs, gap=8.0)
    for row in layers.rows:
        spans = sorted(
            (layers.centres[x] - widths[x] / 2, layers.centres[x] + widths[x] / 2)
            for x in row
            if isinstance(x, str)
        )
        for (_, right), (left, _) in itertools.pairwise(spans):
            assert left - right >= 8 - 1e-6


def test_both_directions_between_a_pair_are_kept_apart():
    root = ET.fromstring(render(*compiled(CASES["trilevel"]()), "svg", ()))
    paths = [x.get("d") for x in root.iter() if (x.get("class") or "").startswith("edge")]
    ends = [path.split()[0] for path in paths] + [path.split()[-1] for path in paths]
    assert len(paths) == 4 and len(set(paths)) == 4
    assert len({end.lstrip("M") for end in ends}) == 8


def test_cards_up_to_fifty_nodes_and_a_list_beyond():
    assert render(*compiled(large(50)), "svg", ()).count(b'class="edge') > 0
    text = render(*compiled(large(51)), "svg", ()).decode()
    assert text.count('class="edge') == 0 and "l2u from p50" in text


def test_five_hundred_nodes_are_quick_without_an_engine():
    graph, plan = compiled(large(500))
    began = time.process_time()
    text = render(graph, plan, "svg", ())
    assert time.process_time() - began < 10
    assert ET.fromstring(text) is not None and b"p499" in text
