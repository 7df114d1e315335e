"""What would go away with another fault is not told beside it."""

from __future__ import annotations

import pytest
from check_cases import GRAPH, places, replaced, told

JUDGE = "judge: {module: m, loss: l, optimizer: o}"
RIGHT = "unroll_steps: 2}\n  base"
NAMES = "a problem's name has letters, digits and '_' and begins with no digit"

# What is done to the graph, and all that is told.
CAUSES = {
    "a problem of the wrong form is still a problem": (
        [(JUDGE, "judge: 3")],
        ["19:10: problems.judge: expected a mapping, got 3"],
    ),
    "a problem with a wrong name is the one that edges name": (
        [
            ("judge:", "1st:"),
            ("clerk -> judge", "clerk -> 1st"),
            ("judge -> guard", "1st -> guard"),
            ("guard -> judge", "guard -> 1st"),
        ],
        [f"19:3: problems.1st: {NAMES}"],
    ),
    "a problem whose name is no text is the one that edges name": (
        [
            ("judge:", "3:"),
            ("clerk -> judge", "clerk -> 3"),
            ("judge -> guard", "3 -> guard"),
            ("guard -> judge", "guard -> 3"),
        ],
        ['19:3: problems.3: the key 3 is not a text (quote it: "3")'],
    ),
    "edges may name what a problem should be called": (
        [
            ("judge:", "jud-ge:"),
            ("clerk -> judge", "clerk -> jud_ge"),
            ("judge -> guard", "jud_ge -> guard"),
            ("guard -> judge", "guard -> jud_ge"),
        ],
        [f"19:3: problems.jud-ge: {NAMES}"],
    ),
    "of two problems with one name, the second was to have another": (
        [
            ("guard:", "judge:"),
            ("judge -> guard", "judge -> judge2"),
            ("guard -> judge", "judge2 -> judge"),
        ],
        ["21:3: problems.judge: duplicate key (it stands first in line 19)"],
    ),
    "a slip for a key is no missing key as well": (
        [(JUDGE, "judge: {module: m, los: l, optimizer: o}")],
        ["19:22: problems.judge.los: unknown key (did you mean 'loss'?)"],
    ),
    "what a merge key would bring is not missing": (
        [(JUDGE, "judge: {<<: {loss: l}}")],
        ["19:11: problems.judge.<<: merge keys '<<' are not supported (use include, or an alias)"],
    ),
    "a slip for the key of a rate leaves the rate open": (
        [(RIGHT, "unrol_steps: 3}\n  base")],
        ["28:45: problems.right.unrol_steps: unknown key (did you mean 'unroll_steps'?)"],
    ),
    "a key that may have been any leaves open all that is not written": (
        [(RIGHT, "x: 3}\n  base")],
        ["28:45: problems.right.x: unknown key"],
    ),
    "a rate that is no number contradicts none": (
        [(RIGHT, "unroll_steps: two}\n  base")],
        ["28:59: problems.right.unroll_steps: expected an integer ≥ 1, got 'two'"],
    ),
    "a rate that refers to what stands twice contradicts none": (
        [
            ("{rate: 0.1}", "{rate: 0.1, n: 3, n: 2}"),
            (RIGHT, 'unroll_steps: "${vars.n}"}\n  base'),
        ],
        ["3:25: vars.n: duplicate key (it stands first in line 3)"],
    ),
    "what refers to a value at fault is not at fault itself": (
        [
            ("    unroll_steps: 4", "    unroll_steps: 4.5"),
            ("unroll_steps: 4}", 'unroll_steps: "${problems.guard.unroll_steps}"}'),
        ],
        ["25:19: problems.guard.unroll_steps: expected an integer ≥ 1, got 4.5"],
    ),
    "a declaration with a slip is not lacking": (
        [("unequal_unroll: true", "unequal_unrol: true"), (RIGHT, "unroll_steps: 3}\n  base")],
        [
            "26:44: problems.boss.unequal_unrol: unknown key (did you mean 'unequal_unroll'?)",
            "44:10: edges[7].l2u: rates without a solution: 'l2u: base -> right' asks for 3 passes"
            " of 'base' where 'l2u: base -> left' leads to 2 (left: unroll_steps 2,"
            " gradient_accumulation 1; right: unroll_steps 3, gradient_accumulation 1; base:"
            " unroll_steps 1, gradient_accumulation 1; make both sides ask for the same)",
        ],
    ),
    "an edge that cannot be read may be any": (
        [("- l2u: pupil -> tutor", "- l2u: pupil")],
        ["53:10: edges[14].l2u: expected two names with '->' between them, got 'pupil'"],
    ),
    "edges that are no list may be all": (
        [("edges:", "edges: 3\nvertices:"), ("of: meta", "seed: 1")],
        [
            "36:8: edges: expected a list, got 3",
            "37:1: vertices: unknown key (known: description, edges, engine, env, mlograph, name,"
            " problems, vars)",
        ],
    ),
    "edges under a key with a slip are not missing": (
        [("edges:", "edgs:"), ("of: meta", "seed: 1")],
        ["36:1: edgs: unknown key (did you mean 'edges'?)"],
    ),
    "problems under a key with a slip are not missing": (
        [("problems:", "problem:")],
        ["5:1: problem: unknown key (did you mean 'problems'?)"],
    ),
    "an Env under a key with a slip is not missing": (
        [("env: {", "envs: {")],
        ["4:1: envs: unknown key (did you mean 'env'?)"],
    ),
    "the counted problem under a key with a slip is not missing": (
        [("of: meta", "off: meta")],
        ["56:3: engine.off: unknown key (did you mean 'of'?)"],
    ),
}


@pytest.mark.parametrize(("changes", "expected"), CAUSES.values(), ids=CAUSES)
def test_only_the_cause_is_told(changes: list[tuple[str, str]], expected: list[str]):
    assert told(replaced(GRAPH, *changes)) == expected


REFUSED = {
    "problems.right.unrol_steps=2": "1:16: problems.right.unrol_steps: unknown key"
    " (did you mean 'unroll_steps'?)",
    "problems.rigt.unroll_steps=2": "1:10: problems.rigt: the graph has no such key"
    " (did you mean 'right'? to add a new key, write +problems.rigt.unroll_steps=2)",
    "problems.right.unroll_steps=[": "1:30: problems.right.unroll_steps: not YAML:"
    " did not find expected node content while parsing a flow node",
    "prblems.right.unroll_steps=2": "1:1: prblems: unknown key (did you mean 'problems'?)",
    "=2": "1:1: expected a path such as engine.seed",
}


@pytest.mark.parametrize("override", REFUSED)
def test_what_a_refused_override_was_to_mend_is_not_told(override: str):
    wrong = replaced(GRAPH, (RIGHT, "unroll_steps: 3}\n  base"))
    assert places(wrong) == ["44:10"]
    assert told(wrong, override) == [f"overrides:{REFUSED[override]}"]


def test_a_refused_override_of_something_else_hides_nothing():
    wrong = replaced(GRAPH, ("guard -> judge", "guard -> juge"))
    assert places(wrong, "problems.clerk.unrol_steps=4") == ["41:10", "overrides:1:16"]


def test_a_key_that_a_refused_override_was_to_add_is_not_missing():
    wrong = replaced(GRAPH, (JUDGE, "judge: {module: m, optimizer: o}"))
    assert places(wrong, "problems.judge.los=l") == ["overrides:1:16"]
