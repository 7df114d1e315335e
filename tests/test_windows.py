"""Which inner loops may be run at once, and what a plan says of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import Graph, graph, problem

from mlograph.plan import Backward, EnvStep, OneByOne, Start, Step, Tasks, Update

BODY = (EnvStep(), Start("inner"), Step("inner"), Step("inner"), Backward("outer"))


def meta(*, execution: Any = None, **changes: Any) -> Graph:
    """Implicit MAML; `changes` are of `inner`, or with `outer_` in front of the other."""
    above = {k.removeprefix("outer_"): v for k, v in changes.items() if k.startswith("outer_")}
    below = {k: v for k, v in changes.items() if not k.startswith("outer_")}
    outer = {"data": "env.query", "gradient_accumulation": 4, **above}
    inner = {
        "data": "env.support",
        "start_from": "outer",
        "unroll_steps": 2,
        "hypergradient": "cg",
        **below,
    }
    return graph(
        {
            "outer": problem("torch.nn.Identity", "mse", **outer),
            "inner": problem("torch.nn.Identity", "mse", **inner),
        },
        edges=[("u2l", "outer", "inner"), ("l2u", "inner", "outer")],
        env="mlograph.envs.SineEnv",
        engine={"execution": execution or {}},
    )


def tasks_paragraph(declared: Graph) -> str:
    lines = declared.explain().splitlines()
    first = next(at for at, line in enumerate(lines) if line.startswith("tasks "))
    text = [lines[first][len("tasks ") :]]
    for line in lines[first + 1 :]:
        if not line.startswith("  "):
            break
        text.append(line)
    return " ".join(" ".join(text).split())


def test_the_loops_of_one_update_are_one_window():
    (window,) = meta().plan().tasks
    assert window == Tasks("outer", "inner", 4, BODY)
    assert meta().plan().executed == (window, Update("outer"))
    assert isinstance(window, Tasks)
    assert (*window.instructions, Update("outer")) == meta().plan().period


def test_one_by_one_the_period_is_what_it_was():
    plan = meta(execution={"tasks": "sequential"}).plan()
    assert plan.executed == plan.period
    assert plan.tasks == (OneByOne("outer", "asked for (engine.execution.tasks)"),)


@pytest.mark.parametrize(
    ("chunk", "sizes"), [(None, (4,)), (1, (1, 1, 1, 1)), (3, (3, 1)), (4, (4,)), (9, (4,))]
)
def test_chunks_take_all_tasks_in_order(chunk: int | None, sizes: tuple[int, ...]):
    (window,) = meta(execution={"chunk": chunk}).plan().tasks
    assert isinstance(window, Tasks) and window.chunks() == sizes


@pytest.mark.parametrize(
    ("count", "chunk", "device", "sizes"),
    [
        (8, None, "cpu", (8,)),
        (20, None, "cpu", (8, 8, 4)),
        (20, None, "cuda", (20,)),
        (20, 16, "cpu", (16, 4)),
        (20, 16, "cuda", (16, 4)),
    ],
)
def test_a_cpu_has_eight_tasks_at_once_unless_asked_for_more(
    count: int, chunk: int | None, device: str, sizes: tuple[int, ...]
):
    window = Tasks("upper", "inner", count, (Step("inner"), Backward("upper")), chunk=chunk)
    assert window.chunks(device) == sizes


@pytest.mark.parametrize(
    ("count", "workers", "chunk", "sizes"),
    [
        (16, 2, None, (8, 8)),
        (16, 3, None, (6, 5, 5)),
        (25, 2, None, (7, 6, 6, 6)),
        (5, 2, 2, (2, 1, 1, 1)),
        (3, 8, None, (1, 1, 1)),
        (4, 1, 9, (4,)),
    ],
)
def test_worker_processes_share_the_tasks_evenly(
    count: int, workers: int, chunk: int | None, sizes: tuple[int, ...]
):
    window = Tasks("upper", "inner", count, (Step("inner"), Backward("upper")), chunk=chunk)
    assert window.shares(workers) == sizes


TRIED = "(it tries worker processes on a CPU, where more than a minute is left)"
EACH = "in worker processes (one for each processor core)"
KEPT = f"a run keeps what is fastest {TRIED}"
ONE = "a run keeps what is fastest not in worker processes: one worker is no faster (workers: 1)"


@pytest.mark.parametrize(
    ("execution", "text"),
    [
        ({}, f"4 loops of inner one by one, all at once, {EACH} or both: {KEPT}"),
        ({"chunk": 3, "workers": 1}, f"4 loops of inner one by one or at most 3 at once: {ONE}"),
        (
            {"workers": 3},
            f"4 loops of inner one by one, all at once, in 3 worker processes or both: {KEPT}",
        ),
        ({"tasks": "vectorized"}, "4 loops of inner, all at once"),
        ({"tasks": "vectorized", "chunk": 3}, "4 loops of inner, at most 3 at once"),
        (
            {"tasks": "both"},
            "4 loops of inner, at most 4 at once in worker processes, one for each processor core",
        ),
        (
            {"tasks": "both", "workers": 3},
            "4 loops of inner, at most 2 at once in each of 3 worker processes",
        ),
        (
            {"tasks": "both", "workers": 1, "chunk": 3},
            "4 loops of inner, at most 2 at once in 1 worker process",
        ),
        (
            {"tasks": "sequential"},
            "loops below outer one by one: asked for (engine.execution.tasks)",
        ),
    ],
)
def test_the_plan_says_what_is_done(execution: Any, text: str):
    assert tasks_paragraph(meta(execution=execution)) == text


PLATEAU = {"_target_": "torch.optim.lr_scheduler.ReduceLROnPlateau"}
REASONS: dict[str, tuple[dict[str, Any], str]] = {
    "one pass": (
        {"outer_gradient_accumulation": 1},
        "'outer' makes an update from every pass (gradient_accumulation 1)",
    ),
    "scaled losses": ({"precision": "fp16"}, "'inner' scales its losses (fp16)"),
    "a callback": (
        {"callbacks": {"after_update": "torch.nn.Identity"}},
        "'after_update' of 'inner' is called in each loop",
    ),
    "a warm start": (
        {"hypergradient": {"method": "cg", "warm_start": True}},
        "each linear system of 'inner' starts at the last one's solution (warm_start)",
    ),
}
NOT_AT_ONCE: dict[str, tuple[dict[str, Any], str]] = {
    "an optimizer that mixes": (
        {"optimizer": {"_target_": "torch.optim.Adafactor"}},
        "a step of Adafactor, the optimizer of 'inner', is not known to work elementwise",
    ),
    "a class that mixes": (
        {"optimizer": {"_target_": torch.optim.Adafactor}},
        "a step of Adafactor, the optimizer of 'inner', is not known to work elementwise",
    ),
    "a rate that follows losses": (
        {"scheduler": PLATEAU},
        "the learning rate of 'inner' follows the loss of each loop",
    ),
    "a method for one task": (
        {"hypergradient": "gmres"},
        "'gmres' of 'inner' takes one task at a time",
    ),
    "a preconditioner": (
        {"hypergradient": {"method": "cg", "precondition": "jacobi"}},
        "the preconditioner of 'inner' takes one task at a time",
    ),
    "steps made again": (
        {"hypergradient": {"method": "unroll", "checkpoint": "steps"}},
        "steps of 'inner' are made again, one task at a time (checkpoint)",
    ),
}


@pytest.mark.parametrize(("changes", "reason"), REASONS.values(), ids=REASONS)
def test_the_plan_says_why_not(changes: Any, reason: str):
    text = tasks_paragraph(meta(**changes))
    assert text == f"loops below outer one by one: {reason}"


@pytest.mark.parametrize(("changes", "reason"), NOT_AT_ONCE.values(), ids=NOT_AT_ONCE)
def test_what_cannot_be_vectorised_may_be_spread_over_processes(changes: Any, reason: str):
    (window,) = meta(**changes).plan().tasks
    assert isinstance(window, Tasks) and window.ways == ("sequential", "processes")
    text = tasks_paragraph(meta(**changes))
    assert text == f"4 loops of inner one by one or {EACH}: {KEPT} not at once: {reason}"
    for way in ("vectorized", "both"):
        (window,) = meta(execution={"tasks": way}, **changes).plan().tasks
        assert window == OneByOne("outer", reason)
    assert isinstance(meta(execution={"tasks": "processes"}, **changes).plan().tasks[0], Tasks)


def test_where_no_way_is_left_the_plan_names_what_is_against_each():
    declared = meta(hypergradient="gmres", execution={"workers": 1})
    assert tasks_paragraph(declared) == (
        "loops below outer one by one: 'gmres' of 'inner' takes one task at a time; one worker is "
        "no faster (workers: 1)"
    )


def test_options_that_are_learned_are_read_by_every_loop():
    declared = meta(
        hyperparameters={"lr": {"_target_": "mlograph.rates.positive", "rates": "outer"}},
        hypergradient="unroll",
    )
    assert "options of the optimizer of 'inner' are learned" in tasks_paragraph(declared)


def several(edges: list[tuple[str, str, str]], **names: dict[str, Any]) -> str:
    """What the plan says of loops that start at `a`, in a graph with further problems."""
    problems = {
        name: problem("torch.nn.Identity", "mse", **{"hypergradient": "cg", **spec})
        for name, spec in names.items()
    }
    return tasks_paragraph(graph(problems, edges=edges))


def test_other_problems_around_the_loops_are_named():
    both = [("u2l", "a", "b"), ("l2u", "b", "a")]
    start, many = {"start_from": "a"}, {"gradient_accumulation": 3}
    assert "'a' has problems above it" in several(
        [*both, ("u2l", "top", "a"), ("l2u", "a", "top")], a=many, b=start, top={}
    )
    assert "'b' has problems below it" in several(
        [*both, ("u2l", "b", "c"), ("l2u", "c", "b")], a=many, b=start, c={}
    )
    assert "several problems lie below 'a'" in several(
        [*both, ("u2l", "a", "c"), ("l2u", "c", "a")], a=many, b=start, c={}
    )


def test_graphs_without_such_loops_say_nothing():
    assert meta(start_from=None).plan().tasks == ()
    assert "tasks  " not in meta(start_from=None).explain()
