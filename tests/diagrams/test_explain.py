"""The printed plan, compared with golden texts in `golden/`."""

from __future__ import annotations

from pathlib import Path

import pytest
from diagram_cases import CASES, compiled, edges, imaml, problem, trilevel

from mlograph.explain import WIDTH, explain

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.parametrize("name", CASES)
def test_the_text_is_golden(name: str):
    text = explain(*compiled(CASES[name]()))
    assert text == (GOLDEN / f"{name}.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", CASES)
def test_lines_are_short_and_plain(name: str):
    spec = CASES[name]()
    for line in explain(*compiled(spec)).splitlines():
        in_table = line.split(" ")[0] in ("problem", *spec["problems"])
        assert line == line.rstrip() and (in_table or len(line) <= WIDTH)
        assert line.replace("×", "").replace("→", "").isascii()


def test_every_sweep_names_the_edges_it_takes():
    text = explain(*compiled(CASES["diamond"]()))
    assert "v along l2u base -> left, l2u base -> right" in text
    assert "on along l2u base -> left" in text
    assert "back along u2l top -> base" in text


def test_a_start_is_a_way_back_where_the_method_differentiates_through_it():
    spec = imaml()
    assert "its start too" not in explain(*compiled(spec))
    spec["problems"]["inner"]["hypergradient"] = "unroll"
    assert "back along u2l outer -> inner (its start too)" in explain(*compiled(spec))


@pytest.mark.parametrize(
    ("method", "says"),
    [
        ("darts", "darts through inner: the identity"),
        ("first_order", "first_order through inner: the solution is taken to move"),
        ("cg", "approximate  nothing, where inner loops and solvers are run to their end"),
        ("exact", "approximate  nothing"),
    ],
)
def test_approximations_of_methods(method: str, says: str):
    spec = imaml()
    spec["problems"]["inner"]["hypergradient"] = method
    assert says in explain(*compiled(spec))


def test_a_truncated_loop_says_what_it_leaves_out():
    spec = imaml()
    inner = spec["problems"]["inner"]
    inner["hypergradient"] = {"method": "unroll", "truncate": 2}
    text = explain(*compiled(spec))
    assert "unroll through inner: of its 5 steps, all but the last 2" in text
    assert "its start too" not in text
    inner["hypergradient"] = {"method": "unroll", "truncate": 5}
    text = explain(*compiled(spec))
    assert "all but the last" not in text
    assert "its start too" in text


@pytest.mark.parametrize("method", ["unroll", "forward"])
def test_a_loop_that_goes_on_forgets_what_was_before(method: str):
    spec = imaml()
    spec["problems"]["inner"]["hypergradient"] = method
    assert "its earlier loops" not in explain(*compiled(spec))
    del spec["problems"]["inner"]["start_from"]
    assert f"{method} through inner: what its earlier loops owe" in explain(*compiled(spec))


def test_a_virtual_step_is_that_of_the_last_batch():
    spec = imaml()
    spec["problems"]["inner"]["hypergradient"] = "fixed_point"
    assert "the last batch of an update" not in explain(*compiled(spec))
    spec["problems"]["inner"]["gradient_accumulation"] = 2
    text = explain(*compiled(spec))
    assert "fixed_point through inner: the step is that of the last batch of an update" in text


def test_a_method_that_nothing_flows_through_is_not_an_approximation():
    spec = imaml()
    spec["problems"]["outer"]["hypergradient"] = "darts"
    assert "darts" not in explain(*compiled(spec))


def test_partial_curvature_is_said_once_for_all_uppers_that_meet_it():
    spec = trilevel()
    spec["problems"] = {"summit": problem()} | spec["problems"]
    spec["edges"] += edges("l2u: top -> summit", "u2l: summit -> mid")
    text = explain(*compiled(spec))
    assert "hypergradient of top, summit: partial curvature of 'mid'" in text.replace("\n", " ")


def test_the_options_of_a_method_are_its_counts_and_what_was_changed():
    spec = imaml()
    spec["problems"]["inner"]["hypergradient"] = {
        "method": "cg",
        "warm_start": True,
        "damping": 0.5,
    }
    assert "by cg (damping 0.5, warm_start on, iterations 10):" in explain(*compiled(spec))


def test_a_long_period_is_broken_and_indented():
    names = [f"a_rather_long_name_{i}" for i in range(6)]
    spec = {
        "name": "wide",
        "problems": {"top": problem(gradient_accumulation=4)}
        | {name: problem(unroll_steps=2) for name in names},
        "edges": edges(*(f"l2u: {name} -> top" for name in names)),
    }
    lines = explain(*compiled(spec)).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith("period"))
    assert lines[start] == "period       4 × ["
    assert lines[start + 1].startswith(" " * 15 + "Start(")
    assert " " * 13 + "], Update(top)" in lines


def test_an_endless_period_is_cut_short():
    primes = {"a": 83, "b": 89}
    spec = {
        "name": "long",
        "problems": {
            "top": problem(unequal_unroll=True),
            **{name: problem(unroll_steps=count) for name, count in primes.items()},
        }
        | {f"mid{i}": problem(unroll_steps=i + 1) for i in range(150)},
        "edges": edges(
            *(f"l2u: {name} -> top" for name in (*primes, *(f"mid{i}" for i in range(150))))
        ),
    }
    text = explain(*compiled(spec))
    assert "instructions in all" in text
    assert len(text.splitlines()) < 320


def test_control_characters_never_reach_the_terminal():
    spec = imaml()
    spec["description"] = "red \x1b[31m and\rback \u202e reversed"
    spec["problems"]["outer"]["optimizer"] = "torch.Evil\x1b[2J\n"
    text = explain(*compiled(spec))
    assert "\x1b" not in text and "\r" not in text and "\u202e" not in text
    assert "Evil\\x1b[2J" in text


def test_components_are_called_by_their_last_part():
    spec = imaml()
    spec["env"] = "gym.make"
    spec["problems"]["outer"]["optimizer"] = print
    spec["problems"]["inner"]["optimizer"] = Path("/live")
    text = explain(*compiled(spec))
    assert "gym.make" in text and "print" in text and type(Path()).__name__ in text


def test_what_is_read_ahead_is_told_and_why_other_sources_are_not():
    spec = imaml()
    assert "prefetched   env, where reading takes long: a run measures it" in explain(
        *compiled(spec)
    )
    spec["engine"] = {"execution": {"prefetch": "on"}}
    assert "prefetched   env\n" in explain(*compiled(spec))
    spec["env"] = {"_target_": "mlograph.envs.MazeEnv"}
    reason = "not env: its next step follows from what is done with this one"
    assert f"prefetched   {reason}" in explain(*compiled(spec))
    spec["engine"] = {"execution": {"prefetch": "off"}}
    assert "prefetched" not in explain(*compiled(spec))
    alone = {"module": "a.B", "optimizer": "sgd", "loss": "a.c"}
    loader = {"_target_": "torch.utils.data.DataLoader", "num_workers": 2}
    alone["data"] = {"x": {"_target_": "mlograph.data.full_batch"}, "y": loader, "z": "a.data"}
    text = explain(*compiled({"mlograph": 1, "name": "one", "problems": {"p": alone}}))
    assert "prefetched   data of p (z), where reading takes long: a run measures it\n" in text
    assert "not data of p (x): it is one batch in memory\n" in text
    assert "not data of p (y): its own workers read ahead\n" in text
