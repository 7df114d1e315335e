"""Sets of bits, and the ways on which a hypergradient comes back to one problem."""

from __future__ import annotations

from itertools import pairwise
from random import Random

import networkx as nx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from random_graphs import names, structure, unchecked

from mlograph.errors import GraphError
from mlograph.graph import ProblemGraph
from mlograph.returns import Numbered, Returns, Ways, Work, first, members, turned

PLENTY = 1_000_000


@given(st.sets(st.integers(0, 200), min_size=1))
def test_a_set_gives_its_members_the_least_first(numbers: set[int]):
    together = sum(1 << number for number in numbers)
    assert list(members(together)) == sorted(numbers)
    assert first(together) == min(numbers)


@given(st.lists(st.integers(0, 31), min_size=5, max_size=5))
def test_sets_turned_twice_are_the_same(sets: list[int]):
    assert turned(turned(sets)) == sets
    assert all(
        bool(turned(sets)[one] >> other & 1) == bool(sets[other] >> one & 1)
        for one in range(5)
        for other in range(5)
    )


def named(net: Numbered, numbers: int) -> set[str]:
    return {net.names[number] for number in members(numbers)}


def test_numbers_say_what_the_graph_says():
    problems = names(6)
    edges = ["l2u: p0 -> p2", "l2u: p1 -> p2", "l2u: p2 -> p4", "l2u: p3 -> p4", "l2u: p4 -> p5"]
    graph = structure({name: {} for name in problems}, [*edges, "u2l: p5 -> p1", "u2l: p4 -> p3"])
    net = Numbered(graph)
    for name, number in net.numbers.items():
        assert named(net, net.lowers[number]) == set(graph.lowers(name))
        assert named(net, net.reads[number]) == graph.reads[name]
        assert named(net, net.below[number]) == graph.below[name]
        assert named(net, net.above[number]) == graph.above[name]
        assert all(net.numbers[lower] > number for lower in graph.below[name])
        read = frozenset[str]().union(*(graph.reads[lower] for lower in graph.below[name]))
        assert named(net, net.read_below[number]) == read


def ways(graph: ProblemGraph, upper: str, most: int = PLENTY) -> tuple[Numbered, Ways]:
    net = Numbered(graph)
    return net, Ways(net.numbers[upper], net, Work(most))


def said(net: Numbered, found: Returns) -> dict[str, set[str]]:
    return {net.names[number]: named(net, found.sends[number]) for number in found.order}


def test_whoever_sends_to_a_problem_comes_before_it():
    edges = ["l2u: leaf -> left", "l2u: leaf -> right", "l2u: left -> top", "l2u: right -> top"]
    graph = structure(
        {name: {} for name in ("leaf", "left", "right", "top")}, [*edges, "u2l: top -> leaf"]
    )
    net, found = ways(graph, "top")
    assert said(net, found.by_reading) == {
        "right": {"leaf"},
        "left": {"leaf"},
        "leaf": {"top"},
    }


def test_a_problem_that_leads_nowhere_is_left_out():
    edges = ["l2u: moved -> top", "l2u: still -> top", "u2l: top -> moved"]
    graph = structure({name: {} for name in ("moved", "still", "top")}, edges)
    net, found = ways(graph, "top")
    assert said(net, found.by_reading) == {"moved": {"top"}}


def test_a_hidden_problem_is_one_that_those_below_read():
    # The top moves `hidden`, and that moves `lower`, without an l2u edge of its own.
    edges = ["l2u: lower -> top", "u2l: top -> hidden", "u2l: hidden -> lower"]
    net, found = ways(unchecked({n: {} for n in ("lower", "hidden", "top")}, edges), "top")
    assert named(net, found.hidden) == {"hidden"}
    assert said(net, found.by_reading) == {"lower": {"hidden"}, "hidden": {"top"}}


def test_in_a_circle_the_later_one_sends_nothing_back():
    # Two problems under one top constrain one another; the one that is upper comes first.
    edges = ["l2u: a -> b", "l2u: b -> top", "u2l: b -> a", "u2l: top -> b", "u2l: top -> a"]
    net, found = ways(structure({n: {} for n in ("a", "b", "top")}, edges), "top")
    assert said(net, found.by_reading) == {"b": {"a", "top"}, "a": {"top"}}


def test_one_that_does_not_depend_in_turn_is_sent_to_wherever_it_stands():
    # As above, but `b` does not depend on `a` any more: `a` goes first.
    edges = ["l2u: a -> b", "l2u: b -> top", "l2u: a -> top", "u2l: b -> a", "u2l: top -> b"]
    net, found = ways(structure({n: {} for n in ("a", "b", "top")}, edges), "top")
    top, b = net.numbers["top"], net.numbers["b"]
    after = found.returns(1 << b, lambda number: 1 << top)
    assert said(net, after) == {"a": {"b"}, "b": {"top"}}


def test_all_that_is_looked_at_is_counted():
    line = names(50)
    edges = [f"l2u: {lower} -> {upper}" for lower, upper in pairwise(line)]
    graph = structure({name: {} for name in line}, [*edges, "u2l: p49 -> p0"], engine={"of": "p49"})
    _, found = ways(graph, "p49", most=50)
    assert len(found.by_reading.order) == 49
    _, found = ways(graph, "p49", most=49)
    with pytest.raises(GraphError, match="too many problems depend on one another"):
        _ = found.by_reading


def tangled(seed: int) -> ProblemGraph:
    """Up to 8 problems and any u2l edges, those without a way back included."""
    drawn = Random(seed)
    problems = names(drawn.randint(2, 8))
    edges = []
    for index, lower in enumerate(problems[:-1], start=1):
        above = problems[index:]
        uppers = drawn.sample(above, drawn.randint(0, min(2, len(above))))
        edges += [f"l2u: {lower} -> {upper}" for upper in uppers]
    often = drawn.choice([0.05, 0.2, 0.4])
    edges += [
        f"u2l: {one} -> {other}"
        for one in problems
        for other in problems
        if one != other and drawn.random() < often
    ]
    return unchecked({name: {} for name in problems}, edges)


def by_definition(graph: ProblemGraph, upper: str, order: list[str]) -> dict[str, set[str]]:
    """Who sends to whom among the problems `order`, found by whole graphs of edges."""
    inside = nx.DiGraph()
    inside.add_nodes_from(order)
    inside.add_edges_from((x, y) for x in order for y in graph.reads[x] if y in order)
    parts = enumerate(nx.strongly_connected_components(inside))
    circle = {name: number for number, part in parts for name in part}
    place = {name: index for index, name in enumerate(order)}
    ahead = nx.DiGraph((x, upper) for x in order if upper in graph.reads[x])
    ahead.add_nodes_from([upper, *order])
    ahead.add_edges_from(
        (x, y) for x, y in inside.edges if place[x] < place[y] or circle[x] != circle[y]
    )
    useful = nx.ancestors(ahead, upper)
    starts = useful.intersection(graph.lowers(upper))
    reached = starts.union(*(nx.descendants(ahead, name) for name in starts)) & useful
    return {name: {*ahead.successors(name)} & (useful | {upper}) for name in reached}


@given(st.integers(0, 100_000))
def test_it_is_what_its_definition_says(seed: int):
    graph = tangled(seed)
    for upper in graph.order:
        net, found = ways(graph, upper)
        groups = (net.below[net.numbers[upper]], found.hidden)
        order = [net.names[number] for group in groups for number in members(group)]
        assert said(net, found.by_reading) == by_definition(graph, upper, order)
        place = {number: index for index, number in enumerate(found.by_reading.order)}
        for number, goals in found.by_reading.sends.items():
            assert all(place[number] < place.get(goal, len(place)) for goal in members(goals))
        # Whoever is told what they read anyway finds the same.
        told = found.returns(found.candidates, net.reads.__getitem__)
        assert said(net, told) == said(net, found.by_reading)
