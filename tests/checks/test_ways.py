"""Edges lead in no circle, back to where a hypergradient is wanted, and to one top."""

from __future__ import annotations

from typing import Any

from check_cases import DIAMOND, PAIR, complaints, plain


class TestCycles:
    def test_a_cycle_is_told_as_the_names_that_close_it(self):
        edges = ["l2u: a -> b", "l2u: b -> c", "l2u: c -> a"]
        assert complaints(plain("a", "b", "c"), edges) == [
            "edges[2].l2u: the l2u edges close a cycle: a -> b -> c -> a "
            "(a problem cannot lie below itself; was one of them meant as u2l?)"
        ]

    def test_cycles_apart_from_each_other_are_all_told(self):
        edges = ["l2u: a -> b", "l2u: b -> a", "l2u: b -> c", "l2u: c -> d", "l2u: d -> c"]
        assert [told.split(" (")[0] for told in complaints(plain("a", "b", "c", "d"), edges)] == [
            "edges[1].l2u: the l2u edges close a cycle: a -> b -> a",
            "edges[4].l2u: the l2u edges close a cycle: c -> d -> c",
        ]

    def test_what_a_cycle_covers_is_not_judged(self):
        # Each of the edges between a and b may have been meant as another.
        edges = ["l2u: a -> b", "l2u: b -> a", "u2l: a -> c"]
        problems: dict[str, dict[str, Any]] = {"a": {}, "b": {"unroll_steps": 3}, "c": {}}
        (only,) = complaints(problems, edges, engine={"of": None})
        assert only.startswith("edges[1].l2u: the l2u edges close a cycle")


class TestWaysBack:
    def test_a_u2l_edge_without_a_way_back(self):
        assert complaints(plain("outer", "inner"), ["u2l: outer -> inner"]) == [
            "edges[0].u2l: no hypergradient could return from 'inner' to 'outer': the edge could "
            "never have an effect (add 'l2u: inner -> outer', or a chain of l2u edges)"
        ]

    def test_a_u2l_edge_that_leads_up(self):
        edges = ["u2l: inner -> outer", "l2u: inner -> outer"]
        assert complaints(plain("outer", "inner"), edges) == [
            "edges[0].u2l: no hypergradient could return from 'outer' to 'inner': the edge could "
            "never have an effect ('outer' lies above 'inner': was 'u2l: outer -> inner' meant?)"
        ]

    def test_a_way_back_through_what_stands_still_is_none(self):
        # boss lies above upper, so it does not answer while upper moves.
        edges = [
            "l2u: upper -> boss",
            "u2l: boss -> upper",
            "u2l: upper -> lower",
            "l2u: lower -> boss",
        ]
        assert complaints(plain("boss", "upper", "lower"), edges) == [
            "edges[2].u2l: no hypergradient could return from 'lower' to 'upper': the edge could "
            "never have an effect (add 'l2u: lower -> upper', or a chain of l2u edges)"
        ]

    def test_a_way_back_through_problems_that_are_moved_is_one(self):
        edges = ["u2l: k -> m", "u2l: m -> j", "l2u: j -> k"]
        assert complaints(plain("k", "m", "j"), edges) == []

    def test_an_edge_with_a_wrong_name_may_be_the_way_back(self):
        for wrong in ("l2u: inner -> outr", "l2u: iner -> outer", "l2u: iner -> outr"):
            told = complaints(plain("outer", "inner"), ["u2l: outer -> inner", wrong])
            assert all("edges[1].l2u: no problem" in one for one in told)

    def test_an_edge_that_stands_twice_may_have_been_meant_as_the_way_back(self):
        edges = ["u2l: outer -> inner", "u2l: outer -> inner"]
        assert complaints(plain("outer", "inner"), edges) == [
            "edges[1].u2l: the same edge stands at edges[0] already"
        ]

    def test_an_edge_with_a_wrong_name_elsewhere_is_no_way_back(self):
        edges = ["u2l: outer -> inner", "u2l: boss -> worker", "l2u: worker -> bos"]
        told = complaints(plain("outer", "inner", "boss", "worker"), edges)
        assert [one.split(":")[0] for one in told] == ["edges[2].l2u", "edges[0].u2l"]


class TestStarts:
    def test_a_start_needs_an_edge(self):
        problems = {"outer": {}, "inner": {"start_from": "outer"}}
        assert complaints(problems, ["l2u: inner -> outer"]) == [
            "problems.inner.start_from: 'inner' starts from 'outer' without an edge "
            "(add 'u2l: outer -> inner' to edges)"
        ]

    def test_a_start_without_any_edge_needs_two(self):
        problems = {"outer": {}, "inner": {"start_from": "outer"}}
        assert complaints(problems, []) == [
            "problems.inner.start_from: 'inner' starts from 'outer' without an edge "
            "(add 'u2l: outer -> inner' and 'l2u: inner -> outer' to edges)"
        ]

    def test_a_start_lies_above(self):
        problems = {"k": {}, "m": {"start_from": "k"}, "j": {}}
        edges = ["u2l: k -> m", "u2l: m -> j", "l2u: j -> k"]
        assert complaints(problems, edges) == [
            "problems.m.start_from: 'k' does not lie above 'm' (add 'l2u: m -> k' to edges)"
        ]

    def test_a_problem_does_not_start_from_itself(self):
        problems = {"outer": {}, "inner": {"start_from": "inner"}}
        assert complaints(problems, PAIR) == [
            "problems.inner.start_from: 'inner' cannot start from itself"
        ]

    def test_a_restarted_problem_has_no_warm_up(self):
        problems = {"outer": {}, "inner": {"start_from": "outer", "warmup_steps": 3}}
        assert complaints(problems, PAIR) == [
            "problems.inner.warmup_steps: 'inner' starts every loop anew from 'outer', "
            "so its warm-up would be lost"
        ]

    def test_a_missing_way_back_is_told_once(self):
        problems = {"outer": {}, "inner": {"start_from": "outer"}}
        (only,) = complaints(problems, ["u2l: outer -> inner"], engine={"of": None})
        assert only.startswith("edges[0].u2l: no hypergradient could return")

    def test_an_edge_with_a_wrong_name_may_be_the_one_that_is_missing(self):
        problems = {"outer": {}, "inner": {"start_from": "outer"}}
        for edges in (
            ["u2l: outr -> inner", "l2u: inner -> outer"],
            ["u2l: outer -> iner", "l2u: inner -> outer"],
            ["u2l: outer -> inner", "l2u: inner -> outr"],
        ):
            (only,) = complaints(problems, edges)
            assert "no problem" in only


class TestTops:
    EDGES = ("l2u: leaf -> a", "l2u: leaf -> b", "u2l: a -> leaf")

    def test_several_tops_need_a_counted_one(self):
        assert complaints(plain("leaf", "a", "b"), [*self.EDGES], engine={"of": None}) == [
            "engine: several problems lie on top ('a', 'b'), so whose updates are counted? "
            "(write 'of: a' under engine)"
        ]

    def test_an_edge_in_doubt_may_lead_up_from_one_of_two(self):
        edges = ["l2u: leaf -> a", "l2u: x -> leaf"]
        (only,) = complaints(plain("leaf", "a", "b"), edges, engine={"of": None})
        assert only.startswith("edges[1].l2u: no problem 'x'")

    def test_an_edge_of_the_other_kind_leads_up_from_none(self):
        edges = ["l2u: leaf -> a", "l2u: leaf -> b", "u2l: x -> leaf"]
        told = complaints(plain("leaf", "a", "b"), edges, engine={"of": None})
        assert [one.split(":")[0] for one in told] == ["edges[2].u2l", "engine"]

    def test_an_edge_in_doubt_cannot_lead_up_from_all_of_four(self):
        told = complaints(plain("a", "b", "c", "d"), ["l2u: x -> d"], engine={"of": None})
        assert [one.split(",")[0] for one in told] == [
            "edges[0].l2u: no problem 'x' (known: a",
            "engine: several problems lie on top ('a'",
        ]

    def test_a_start_in_doubt_may_lack_the_edge_that_leads_up(self):
        problems = {"outer": {}, "inner": {"start_from": "outer"}}
        (only,) = complaints(problems, [], engine={"of": None})
        assert "without an edge" in only


def test_a_sound_graph_has_no_faults():
    assert complaints(plain("outer", "inner"), PAIR) == []
    assert complaints(plain("top", "left", "right", "base"), DIAMOND) == []
