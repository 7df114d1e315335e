"""What a fault of form leaves open, and what is left of a graph without it."""

from __future__ import annotations

import pytest
from language_cases import GRAPH, changed

from mlograph.errors import Path
from mlograph.language import Draft, draft, reads
from mlograph.language.doubts import Doubts
from mlograph.language.mending import NO_EDGE

LOWER = ("problems", "lower")


def drafted(old: str, new: str, *overrides: str) -> Draft:
    """What is understood of the graph with one text replaced."""
    found = reads(changed(old, new), "g.yaml", overrides).draft
    assert found.faults
    return found


class TestDoubts:
    doubts = Doubts(frozenset({("a", "b")}))

    @pytest.mark.parametrize("path", [("a", "b"), ("a", "b", "c"), ("a", "b", 0, "d")])
    def test_a_doubt_covers_its_place_and_all_below(self, path: Path):
        assert self.doubts.cover(path)
        assert self.doubts.touch(path)

    @pytest.mark.parametrize("path", [(), ("a",)])
    def test_what_lies_above_is_only_touched(self, path: Path):
        assert not self.doubts.cover(path)
        assert self.doubts.touch(path)

    @pytest.mark.parametrize("path", [("b",), ("a", "c"), ("a", "bc"), ("a", "c", "b")])
    def test_what_lies_beside_it_is_certain(self, path: Path):
        assert not self.doubts.touch(path)

    def test_they_spread_to_what_refers_to_them_over_any_distance(self):
        references = {("x",): [("y",)], ("y",): [("a", "b", "c")], ("z",): [("a", "c")]}
        spread = self.doubts.spread(references)
        assert spread.paths == {("a", "b"), ("y",), ("x",)}


# old, new → what is in doubt, and what beside it is not
OPEN: list[tuple[str, str, list[Path], list[Path]]] = [
    ("unroll_steps: 5", "unroll_steps: x", [(*LOWER, "unroll_steps")], [(*LOWER, "module")]),
    ("unroll_steps: 5", "unrol_steps: 5", [(*LOWER, "unroll_steps")], [(*LOWER, "loss")]),
    ("unroll_steps: 5", "x: 5", [(*LOWER, "unroll_steps"), (*LOWER, "start_from")], [LOWER[:1]]),
    ("    loss: losses.lower\n", "", [(*LOWER, "loss")], [(*LOWER, "start_from")]),
    ("unroll_steps: 5", "<<: {}", [(*LOWER, "unroll_steps")], [(*LOWER, "module")]),
    ("module: {copy: upper}", "module: {cpy: upper}", [(*LOWER, "module")], [(*LOWER, "loss")]),
    ("edges:", "edgs:", [("edges",)], [("engine",), LOWER]),
    ("u2l: upper -> lower", "u2l: upper", [("edges", 0)], [("edges", 1)]),
]


@pytest.mark.parametrize(("old", "new", "doubtful", "certain"), OPEN)
def test_a_fault_leaves_open_what_it_may_have_been_meant_for(
    old: str, new: str, doubtful: list[Path], certain: list[Path]
):
    doubts = drafted(old, new).doubts
    assert all(map(doubts.touch, doubtful))
    assert not any(map(doubts.cover, certain))


# override → what it may have been meant to change, and what not
LEFT_OPEN: list[tuple[str, Path, Path]] = [
    ("problems.lower.unrol_steps=1", (*LOWER, "unroll_steps"), (*LOWER, "module")),
    ("problems.lowr.unroll_steps=1", LOWER, ("problems", "upper")),
    ("problems.lower.x=1", LOWER, ("problems", "upper")),
    ("engin.seed=1", ("engine",), LOWER),
    ("edges.9={}", ("edges",), LOWER),
    ("engine.seed=[", ("engine", "seed"), ("engine", "of")),
    ("=1", (), ()),
]


@pytest.mark.parametrize(("override", "doubtful", "certain"), LEFT_OPEN)
def test_a_refused_override_leaves_open_what_it_was_to_change(
    override: str, doubtful: Path, certain: Path
):
    doubts = reads(GRAPH, "g.yaml", [override]).draft.doubts
    assert doubts.cover(doubtful)
    assert certain == () or not doubts.cover(certain)


class TestMending:
    def test_problems_keep_their_names_and_what_is_sound(self):
        spec = drafted("unroll_steps: 5", "unroll_steps: x\n    warmup_steps: 3").spec
        assert spec is not None
        lower = spec.problems["lower"]
        assert (lower.warmup_steps, lower.unroll_steps) == (3, 1)
        assert list(spec.problems) == ["upper", "lower"]

    def test_edges_keep_their_numbers(self):
        spec = drafted("u2l: upper -> lower", "u2l: upper").spec
        assert spec is not None
        assert spec.edges[0] == NO_EDGE
        assert str(spec.edges[1]) == "l2u: lower -> upper"

    def test_an_env_that_is_at_fault_is_there(self):
        spec = drafted("edges:", "env: {source: 1}\nedges:").spec
        assert spec is not None
        assert spec.env is not None

    @pytest.mark.parametrize("data", [None, 3, [], {}, {"problems": 3}, {"problems": {}}])
    def test_without_a_problem_nothing_is_left(self, data: object):
        assert draft(data).spec is None

    def test_a_sound_graph_is_left_whole(self):
        found = reads(GRAPH).draft
        assert found.spec is not None
        assert (found.faults, found.spec.name) == ((), "tiny")
