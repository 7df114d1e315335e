"""Who reads whom."""

from __future__ import annotations

from typing import Any

from random_graphs import structure, unchecked

from mlograph.graph import counted, depth, edge_path, reads_env, warnings
from mlograph.wording import role


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
NESTED = [
    "u2l: prior -> penalties",
    "u2l: penalties -> model",
    "l2u: model -> penalties",
    "l2u: model -> prior",
]
TWO_LEADERS = [
    ("u2l", "left", "base"),
    ("u2l", "right", "base"),
    ("l2u", "base", "left"),
    ("l2u", "base", "right"),
    ("u2l", "left", "right"),
    ("u2l", "right", "left"),
]


class TestStructure:
    graph = structure(plain("top", "right", "left", "base"), DIAMOND)

    def test_the_order_leads_upwards_and_else_follows_the_file(self):
        assert self.graph.order == ("base", "right", "left", "top")

    def test_tops(self):
        assert self.graph.tops == ("top",)

    def test_neighbours(self):
        assert self.graph.lowers("top") == ("left", "right")
        assert self.graph.uppers("base") == ("left", "right")
        assert self.graph.reads["base"] == {"top"}
        assert self.graph.reads["top"] == {"left", "right"}

    def test_above_and_below_are_chains_of_any_length(self):
        assert self.graph.below["top"] == {"left", "right", "base"}
        assert self.graph.below["base"] == set()
        assert self.graph.above["base"] == {"left", "right", "top"}
        assert self.graph.above["left"] == {"top"}

    def test_u2l_edges_are_no_part_of_the_hierarchy(self):
        assert set(self.graph.constraints.edges) == {("top", "base")}
        assert not self.graph.hierarchy.has_edge("top", "base")

    def test_the_counted_problem_is_the_top_unless_the_engine_says_otherwise(self):
        more = {"engine": {"of": None}}
        assert counted(structure(plain("inner", "outer"), PAIR, **more)) == "outer"
        inner = structure(plain("outer", "inner"), PAIR, engine={"of": "inner"})
        assert counted(inner) == "inner"

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
        assert graph.nested_lowers["middle"] == ("leaf",)
        assert graph.nested_lowers["top"] == ("leaf",)
        assert graph.nested_lowers["leaf"] == ()

    def test_whom_a_problem_moves_without_reading_its_answer_is_not_nested_in_it(self):
        graph = structure(
            plain("first", "between", "last"),
            ["u2l: first -> between", "u2l: between -> last", "l2u: last -> first"],
            engine={"of": "first"},
        )
        assert graph.nested_lowers["between"] == ()
        assert graph.nested_lowers["first"] == ("between",)

    def test_levels_are_counted_along_u2l_edges_too(self):
        one = structure(plain("only"), [], engine={"of": "only"})
        nested = structure(plain("prior", "penalties", "model"), NESTED)
        assert [depth(g) for g in (one, self.graph, nested)] == [1, 3, 3]
        places = {name: role(nested, name) for name in nested.problems}
        assert places == {"prior": "top", "penalties": "middle", "model": "leaf"}

    def test_leaders_of_each_other_stand_on_one_level(self):
        both = [f"{edge}: {a} -> {b}" for edge, a, b in TWO_LEADERS]
        graph = structure(plain("left", "right", "base"), both)
        assert depth(graph) == 2
        assert [role(graph, name) for name in graph.problems] == ["top", "top", "leaf"]

    def test_data_of_the_env_is_found_in_mappings_too(self):
        env = {"env": {"_target_": "envs.make"}}
        data = {"a": {"data": {"x": "loaders.x", "y": "env.y"}}, "b": {"data": "loaders.x"}}
        graph = structure(data, [], engine={"of": "a"}, **env)
        assert [reads_env(spec) for spec in graph.problems.values()] == [True, False]


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


def test_an_edge_that_is_written_twice_is_the_first_of_them():
    graph = unchecked(plain("outer", "inner"), [*PAIR, *PAIR])
    assert edge_path(graph, "l2u", "inner", "outer") == ("edges", 1, "l2u")
    leaving = [edge.kind for edge in graph.written.leaving["outer"]]
    assert leaving == ["u2l", "u2l"]
