"""Edges and references name what is there, once."""

from __future__ import annotations

from check_cases import PAIR, complaints, plain


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
        assert complaints(plain("outer", "inner"), PAIR) == []


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
        assert complaints(problems, []) == []

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
