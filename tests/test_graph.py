"""What a graph means: who reads whom, and everything that can be wrong with it."""

from __future__ import annotations

from typing import Any

import pytest
from random_graphs import structure

from mlograph.errors import GraphError
from mlograph.graph import warnings


def complaints(problems: dict[str, dict[str, Any]], edges: list[str], **more: Any) -> list[str]:
    """All faults, as `path: message (hint)`."""
    with pytest.raises(GraphError) as caught:
        structure(problems, edges, **more)
    return [str(fault) for fault in caught.value.faults]


def plain(*names: str) -> dict[str, dict[str, Any]]:
    return {name: {} for name in names}


PAIR = ["u2l: outer -> inner", "l2u: inner -> outer"]
DIAMOND = [
    "u2l: top -> base",
    "l2u: base -> left",
    "l2u: base -> right",
    "l2u: left -> top",
    "l2u: right -> top",
]


class TestStructure:
    graph = structure(plain("top", "right", "left", "base"), DIAMOND)

    def test_the_order_leads_upwards_and_else_follows_the_file(self):
        assert self.graph.order == ("base", "right", "left", "top")

    def test_leaves_and_tops(self):
        assert self.graph.leaves == ("base",)
        assert self.graph.tops == ("top",)

    def test_neighbours(self):
        assert self.graph.lowers("top") == ("left", "right")
        assert self.graph.uppers("base") == ("left", "right")
        assert self.graph.constrained_by("base") == ("top",)
        assert self.graph.reads("base") == {"top"}
        assert self.graph.reads("top") == {"left", "right"}

    def test_above_and_below_are_chains_of_any_length(self):
        assert self.graph.below("top") == {"left", "right", "base"}
        assert self.graph.below("base") == set()
        assert self.graph.above("base") == {"left", "right", "top"}
        assert self.graph.above("left") == {"top"}

    def test_u2l_edges_are_no_part_of_the_hierarchy(self):
        assert set(self.graph.constraints.edges) == {("top", "base")}
        assert not self.graph.hierarchy.has_edge("top", "base")

    def test_the_counted_problem_is_the_top_unless_the_engine_says_otherwise(self):
        more = {"engine": {"of": None}}
        assert structure(plain("inner", "outer"), PAIR, **more).counted == "outer"
        assert structure(plain("outer", "inner"), PAIR, engine={"of": "inner"}).counted == "inner"

    def test_nested_lowers_answer_to_the_problem_that_moves_them(self):
        graph = structure(
            plain("top", "middle", "leaf"),
            [
                "l2u: leaf -> middle",
                "l2u: middle -> top",
                "u2l: middle -> leaf",
                "u2l: top -> leaf",
            ],
        )
        assert graph.nested_lowers("middle") == ("leaf",)
        assert graph.nested_lowers("top") == ("leaf",)
        assert graph.nested_lowers("leaf") == ()

    def test_whom_a_problem_moves_without_reading_its_answer_is_not_nested_in_it(self):
        graph = structure(
            plain("first", "between", "last"),
            ["u2l: first -> between", "u2l: between -> last", "l2u: last -> first"],
            engine={"of": "first"},
        )
        assert graph.nested_lowers("between") == ()
        assert graph.nested_lowers("first") == ("between",)

    def test_data_of_the_env_is_found_in_mappings_too(self):
        env = {"env": {"_target_": "envs.make"}}
        data = {"a": {"data": {"x": "loaders.x", "y": "env.y"}}, "b": {"data": "loaders.x"}}
        graph = structure(data, [], engine={"of": "a"}, **env)
        assert [graph.reads_env(name) for name in ("a", "b")] == [True, False]


class TestEdges:
    def test_unknown_names_get_the_nearest_known_one(self):
        assert complaints(plain("outer", "inner"), ["u2l: outer -> iner", "l2u: x -> outer"]) == [
            "edges[0].u2l: no problem 'iner' (did you mean 'inner'?)",
            "edges[1].l2u: no problem 'x' (known: inner, outer)",
        ]

    def test_an_edge_to_itself(self):
        assert complaints(plain("a"), ["u2l: a -> a"]) == [
            "edges[0].u2l: an edge from 'a' to itself (a loss may always read its own problem)"
        ]

    def test_the_same_edge_twice(self):
        assert complaints(plain("outer", "inner"), [*PAIR, PAIR[0]]) == [
            "edges[2].u2l: the same edge stands at edges[0] already"
        ]

    def test_both_kinds_between_two_problems_are_no_repetition(self):
        structure(plain("outer", "inner"), PAIR)

    def test_a_cycle_is_told_as_the_names_that_close_it(self):
        edges = ["l2u: a -> b", "l2u: b -> c", "l2u: c -> a"]
        assert complaints(plain("a", "b", "c"), edges) == [
            "edges[2].l2u: the l2u edges close a cycle: a -> b -> c -> a "
            "(a problem cannot lie below itself; was one of them meant as u2l?)"
        ]

    def test_a_u2l_edge_without_a_way_back(self):
        assert complaints(plain("outer", "inner"), ["u2l: outer -> inner"]) == [
            "edges[0].u2l: no hypergradient could return from 'inner' to 'outer': the edge could "
            "never have an effect (add 'l2u: inner -> outer', or a chain of l2u edges)"
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
        structure(plain("k", "m", "j"), edges)


class TestReferences:
    def test_a_copy_of_an_unknown_problem(self):
        problems = {"outer": {}, "inner": {"module": {"copy": "outr"}}}
        assert complaints(problems, PAIR) == [
            "problems.inner.module.copy: no problem 'outr' (did you mean 'outer'?)"
        ]

    def test_copies_in_a_circle(self):
        problems = {"outer": {"module": {"copy": "inner"}}, "inner": {"module": {"copy": "outer"}}}
        assert complaints(problems, PAIR) == [
            "problems.outer.module.copy: copies in a circle: outer -> inner -> outer",
            "problems.inner.module.copy: copies in a circle: inner -> outer -> inner",
        ]

    def test_a_copy_into_a_circle_is_told_once_for_each_member_of_it(self):
        problems = {
            "outer": {"module": {"copy": "inner"}},
            "inner": {"module": {"copy": "inner"}},
        }
        assert complaints(problems, PAIR) == [
            "problems.inner.module.copy: copies in a circle: inner -> inner"
        ]

    def test_a_copy_of_a_copy(self):
        problems = {"a": {}, "b": {"module": {"copy": "a"}}, "c": {"module": {"copy": "b"}}}
        structure(problems, [])

    def test_a_start_at_an_unknown_problem(self):
        problems = {"outer": {}, "inner": {"start_from": "outr"}}
        assert complaints(problems, PAIR) == [
            "problems.inner.start_from: no problem 'outr' (did you mean 'outer'?)"
        ]

    def test_env_data_without_an_env(self):
        problems = {"outer": {"data": "env.query"}, "inner": {}}
        assert complaints(problems, PAIR) == [
            "problems.outer.data: 'env.query', but the graph has no 'env'"
        ]

    def test_an_unknown_counted_problem(self):
        assert complaints(plain("outer", "inner"), PAIR, engine={"of": "outr"}) == [
            "engine.of: no problem 'outr' (did you mean 'outer'?)"
        ]

    def test_everything_wrong_is_told_at_once(self):
        problems = {"outer": {"data": "env.query"}, "inner": {"start_from": "x"}}
        edges = ["u2l: outer -> outer", "l2u: inner -> out"]
        found = complaints(problems, edges, engine={"of": "y"})
        assert [line.split(": ")[0] for line in found] == [
            "edges[0].u2l",
            "edges[1].l2u",
            "problems.outer.data",
            "problems.inner.start_from",
            "engine.of",
        ]


class TestMeaning:
    def test_a_start_needs_an_edge(self):
        problems = {"outer": {}, "inner": {"start_from": "outer"}}
        assert complaints(problems, ["l2u: inner -> outer"]) == [
            "problems.inner.start_from: 'inner' starts from 'outer' without an edge "
            "(add 'u2l: outer -> inner' to edges)"
        ]

    def test_a_start_lies_above(self):
        problems = {"k": {}, "m": {"start_from": "k"}, "j": {}}
        edges = ["u2l: k -> m", "u2l: m -> j", "l2u: j -> k"]
        assert complaints(problems, edges) == [
            "problems.m.start_from: 'k' does not lie above 'm' (add 'l2u: m -> k' to edges)"
        ]

    def test_a_restarted_problem_has_no_warm_up(self):
        problems = {"outer": {}, "inner": {"start_from": "outer", "warmup_steps": 3}}
        assert complaints(problems, PAIR) == [
            "problems.inner.warmup_steps: 'inner' starts every loop anew from 'outer', "
            "so its warm-up would be lost"
        ]

    def test_loops_of_different_lengths_are_declared(self):
        edges = ["l2u: a -> top", "l2u: b -> top", "l2u: c -> top"]
        problems = {"top": {}, "a": {}, "b": {}, "c": {"unroll_steps": 3}}
        assert complaints(problems, edges) == [
            "problems.c.unroll_steps: for one step of 'top', 'l2u: a -> top' asks for 1 updates "
            "and 'l2u: c -> top' for 3 (make them equal, or write 'unequal_unroll: true' under "
            "'top' if it is meant)"
        ]
        structure(problems | {"top": {"unequal_unroll": True}}, edges)

    def test_several_tops_need_a_counted_one(self):
        edges = ["l2u: leaf -> a", "l2u: leaf -> b", "u2l: a -> leaf"]
        assert complaints(plain("leaf", "a", "b"), edges, engine={"of": None}) == [
            "engine: several problems lie on top ('a', 'b'), so whose updates are counted? "
            "(write 'of: a' under engine)"
        ]


class TestWarnings:
    def test_a_sound_graph_has_none(self):
        assert warnings(structure(plain("outer", "inner"), PAIR)) == ()

    def test_a_problem_apart_from_the_rest(self):
        graph = structure(plain("outer", "inner", "alone"), PAIR)
        assert [str(fault) for fault in warnings(graph)] == [
            "problems.alone: 'alone' shares no edge with 'inner', 'outer'"
        ]

    def test_an_env_that_nobody_reads(self):
        graph = structure(plain("outer", "inner"), PAIR, env={"_target_": "envs.make"})
        assert [str(fault) for fault in warnings(graph)] == [
            "env: no problem reads from the Env (write 'data: env.NAME' in a problem)"
        ]
