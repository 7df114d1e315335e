"""How often problems act: contradictions are told once, and only where the numbers are certain."""

from __future__ import annotations

from typing import Any

from check_cases import DIAMOND, complaints

FAN = ["l2u: a -> top", "l2u: b -> top", "l2u: c -> top"]
EITHER = {"unequal_unroll": True}


def steps(number: int) -> dict[str, Any]:
    return {"unroll_steps": number}


def diamond(left: int, right: int, **top: Any) -> dict[str, dict[str, Any]]:
    return {"top": top, "left": steps(left), "right": steps(right), "base": {}}


class TestLoops:
    def test_loops_of_different_lengths_are_declared(self):
        problems = {"top": {}, "a": {}, "b": {}, "c": steps(3)}
        assert complaints(problems, FAN) == [
            "problems.c.unroll_steps: for one step of 'top', 'l2u: a -> top' asks for 1 updates "
            "and 'l2u: c -> top' for 3 (make them equal, or write 'unequal_unroll: true' under "
            "'top' if it is meant)"
        ]
        assert complaints(problems | {"top": EITHER}, FAN) == []

    def test_loops_of_different_lengths_may_be_all_that_is_wrong_with_rates(self):
        (only,) = complaints(diamond(2, 3), DIAMOND)
        assert only.startswith("problems.right.unroll_steps: for one step of 'top'")


class TestRates:
    def test_a_diamond_whose_sides_disagree(self):
        (only,) = complaints(diamond(2, 3, **EITHER), DIAMOND)
        assert only.startswith("edges[1].l2u: rates without a solution: 'l2u: base -> right'")

    def test_diamonds_that_share_a_problem_are_both_told(self):
        problems = diamond(2, 3, **EITHER) | {"east": steps(2), "west": steps(3), "root": {}}
        edges = ["l2u: root -> east", "l2u: root -> west", "l2u: east -> base", "l2u: west -> base"]
        told = complaints(problems | {"base": EITHER}, [*DIAMOND, *edges])
        assert sorted(one.split(":")[0] for one in told) == ["edges[1].l2u", "edges[5].l2u"]

    def test_one_wrong_number_is_told_once(self):
        problems = diamond(2, 2) | {"middle": steps(3), "top": EITHER}
        edges = [*DIAMOND, "l2u: base -> middle", "l2u: middle -> top"]
        assert len(complaints(problems, edges)) == 1

    def test_an_edge_in_doubt_decides_nothing(self):
        edges = [*DIAMOND[:3], "l2u: rigt -> top"]
        (only,) = complaints(diamond(2, 3, **EITHER), edges)
        assert only.startswith("edges[3].l2u: no problem 'rigt'")


class TestPeriods:
    CHAIN = ("l2u: leaf -> middle", "l2u: middle -> top")

    def test_a_period_that_is_too_long(self):
        problems: dict[str, Any] = {"top": {}, "middle": steps(1000), "leaf": steps(1000)}
        assert complaints(problems, [*self.CHAIN]) == [
            "problems.leaf: one period would take 1,000,000 backward passes of 'leaf' "
            "(1,001,001 in all; at most 100,000) (unroll_steps and gradient_accumulation "
            "multiply along the l2u edges)"
        ]

    def test_what_is_in_doubt_can_only_make_it_longer(self):
        problems: dict[str, Any] = {"top": {}, "middle": steps(1000), "leaf": steps(1000)}
        first, second = complaints(problems, [*self.CHAIN, "l2u: leaf -> tpo"])
        assert first.startswith("edges[2].l2u: no problem 'tpo'")
        assert second.startswith("problems.leaf: one period would take at least 1,000,000 backward")
