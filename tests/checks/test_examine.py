"""Everything is told in one pass, once, and in the order of the text."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from check_cases import GRAPH, places, replaced, told
from hypothesis import given
from hypothesis import strategies as st

from mlograph.checks import faults_of
from mlograph.errors import GraphError
from mlograph.language import draft, reads


@dataclass(frozen=True)
class Slip:
    """One thing done wrong to `GRAPH`, the place where it is told, and how that begins."""

    old: str
    new: str
    place: str
    message: str

    def spoil(self, text: str) -> str:
        return replaced(text, (self.old, self.new))


SLIPS = (
    # the form
    Slip("precision: float32", "precision: float16", "10:16", "problems.meta.precision: "),
    Slip("freeze: bias", "frezze: bias", "18:5", "problems.task.frezze: unknown key"),
    Slip("judge: {module: m, loss: l, ", "judge: {module: m, ", "19:3", "problems.judge.loss: "),
    Slip("{rate: 0.1}", "{rate: 0.1, rate: 0.2}", "3:19", "vars.rate: duplicate key"),
    Slip("${vars.rate}", "${vars.rat}", "17:36", "problems.task.optimizer.lr: '${"),
    Slip("steps: 100", "steps: many", "55:10", "engine.steps: expected an integer"),
    # names
    Slip("u2l: judge -> guard", "u2l: jude -> guard", "40:10", "edges[3].u2l: no problem 'jude'"),
    Slip("{copy: meta}", "{copy: mta}", "12:20", "problems.task.module.copy: no problem 'mta'"),
    Slip("env: {_target_: mlograph.envs.SineEnv}\n", "\n", "15:11", "problems.task.data: 'env"),
    Slip("# another edge", "- u2l: hen -> hen", "51:10", "edges[14].u2l: an edge from"),
    Slip("# and another", "- u2l: boss -> base", "52:10", "edges[14].u2l: the same edge"),
    Slip("of: meta", "of: mta", "56:7", "engine.of: no problem 'mta'"),
    # ways
    Slip("u2l: hen -> egg", "l2u: hen -> egg", "48:10", "edges[11].l2u: the l2u edges"),
    Slip("- l2u: pupil -> tutor", "", "50:10", "edges[13].u2l: no hypergradient"),
    Slip("start_from: meta", "start_from: judge", "13:17", "problems.task.start_from: "),
    Slip("warmup_steps: 0", "warmup_steps: 2", "14:19", "problems.task.warmup_steps: "),
    Slip("  of: meta\n", "", "55:3", "engine: several problems lie on top"),
    # rates
    Slip("    unroll_steps: 4", "    unroll_steps: 5", "25:19", "problems.guard.unroll_steps: "),
    Slip("unroll_steps: 2}\n  base", "unroll_steps: 3}\n  base", "44:10", "edges[7].l2u: rates"),
    Slip("unroll_steps: 9", "unroll_steps: 9000000", "35:9", "problems.fast: one period"),
)  # fmt: skip


def test_the_graph_that_is_spoilt_is_sound():
    assert told(GRAPH) == []


@pytest.mark.parametrize("slip", SLIPS, ids=lambda slip: slip.new or slip.old)
def test_every_slip_is_told_alone(slip: Slip):
    (only,) = told(slip.spoil(GRAPH))
    assert only.startswith(f"{slip.place}: {slip.message}")


@pytest.mark.parametrize("first", SLIPS, ids=lambda slip: slip.new or slip.old)
def test_two_slips_in_different_places_are_both_told(first: Slip):
    for second in SLIPS:
        if not (first.old in second.old or second.old in first.old):
            found = places(second.spoil(first.spoil(GRAPH)))
            assert sorted(found) == sorted([first.place, second.place]), second


def test_one_fault_of_each_kind_and_all_are_told_in_the_order_of_the_text():
    text = GRAPH
    spoilt = [slip for slip in SLIPS if slip.old not in ("  of: meta\n",)]
    for slip in spoilt:
        text = slip.spoil(text)
    found = places(text, "engine.sed=1")
    *written, overridden = found
    assert overridden == "overrides:1:8"
    lines = [int(place.split(":")[0]) for place in written]
    assert lines == sorted(lines)
    assert sorted(written) == sorted(slip.place for slip in spoilt)


def test_of_very_many_faults_of_form_nothing_more_is_looked_for():
    text = GRAPH.replace("vars:", "".join(f"x{n}: 1\n" for n in range(101)) + "vars:")
    *first, last = told(text.replace("judge -> guard", "jude -> guard"))
    assert len(first) == 100
    assert last == "and 1 more faults"


@given(st.data())
def test_whatever_is_replaced_all_that_is_told_has_a_place(data: st.DataObject):
    start = data.draw(st.integers(0, len(GRAPH)))
    end = data.draw(st.integers(start, min(len(GRAPH), start + 60)))
    middle = data.draw(st.text("{}[]:-&*!'\"${}. ab1\n", max_size=8) | st.just(GRAPH[:end][-40:]))
    try:
        reading = reads(GRAPH[:start] + middle + GRAPH[end:], "g")
    except GraphError:
        return
    found = reading.source.listed(faults_of(reading.draft))
    assert all(fault.location is not None for fault in found)
    assert len(set(found)) == len(found)


parts = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 9) | st.sampled_from(["a", "u2l", "a -> a", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["a", "u2l", "l2u", "of", "module", 1]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@given(parts, st.sampled_from(["problems", "edges", "engine", "env", "name", "unknown", 3]), parts)
def test_whatever_python_gives_is_told_by_faults(value: object, key: object, problem: object):
    faults_of(draft({"mlograph": 1, "name": "x", "problems": {"a": problem}, key: value}))
