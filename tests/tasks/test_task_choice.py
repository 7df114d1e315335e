"""How `auto` finds out what is fastest, and what it leaves behind."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import Batch, bound, failure
from task_graphs import CG, tasks
from torch import Tensor
from torch.nn import functional as F

from mlograph.envs import SineEnv
from mlograph.executor import Executor
from mlograph.losses import proximal
from mlograph.plan import Tasks, Update, Way
from mlograph.tasks import TaskRunner
from mlograph.tasks.choice import Choice
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.views import View

WAYS: tuple[Way, ...] = ("sequential", "vectorized", "processes", "both")


def chosen(**seconds: float) -> Choice:
    """A choice after as many windows as it takes; the first of each way are slow."""
    choice = Choice.among(way for way in WAYS if way in seconds)
    seen: set[Way] = set()
    while choice.way is None:
        way = choice.next()
        choice.took(way, seconds[way] + (0.0 if way in seen else 5.0))
        seen.add(way)
    return choice


@pytest.mark.parametrize("fastest", WAYS)
def test_the_fastest_way_is_kept(fastest: Way):
    seconds: dict[str, float] = {way: 0.1 if way == fastest else 0.2 for way in WAYS}
    choice = chosen(**seconds)
    assert choice.way == choice.next() == fastest
    assert choice.best == seconds


def test_workers_are_tried_when_the_others_are_known_and_these_in_turn():
    choice, order = Choice.among(WAYS), []
    while choice.way is None:
        order.append(choice.next())
        choice.took(order[-1], 1.0)
        assert choice.before_workers == (8 <= len(order) < 16)
    assert order == ["sequential", "vectorized"] * 4 + ["processes", "both"] * 4


def test_after_it_is_settled_nothing_is_measured():
    choice = chosen(vectorized=0.1, sequential=0.2)
    assert not choice.took("vectorized", 9.0)
    assert choice.best["vectorized"] == 0.1


def test_of_one_way_there_is_no_choice():
    assert Choice.among(["processes"]).way == "processes"


def test_what_cannot_be_done_is_no_longer_tried():
    choice = Choice.among(WAYS)
    choice.took("sequential", 1.0)
    assert not choice.drop("vectorized")
    assert not choice.took("vectorized", 1.0), "the window in which that was found out"
    assert [choice.next() for _ in range(2)] == ["sequential"] * 2
    assert choice.drop("processes", "both") and choice.way == "sequential"
    assert not choice.took("processes", 1.0)


def test_what_was_chosen_and_fails_leaves_the_better_of_the_others():
    choice = chosen(sequential=0.3, vectorized=0.2, processes=0.1)
    assert choice.drop("processes") and choice.way == "vectorized"
    assert choice.drop("vectorized") and choice.way == "sequential"


def test_workers_that_start_again_are_measured_again():
    choice = Choice.among(WAYS)
    for _ in range(11):
        choice.took(choice.next(), 1.0)
    assert [len(choice.seconds[way]) for way in ("processes", "both")] == [2, 1]
    program = bound(tasks("auto", count=2))
    executor = Executor(program)
    state = executor.state_dict()
    state["tasks"]["choices"]["upper"] = {"way": None, "seconds": choice.seconds}
    executor.load_state_dict(state)
    found = executor.state_dict()["tasks"]["choices"]["upper"]["seconds"]
    assert {way: len(seconds) for way, seconds in found.items()} == {
        "sequential": 4,
        "vectorized": 4,
        "processes": 0,
        "both": 0,
    }


@pytest.mark.parametrize("method", [CG, "unroll"])
def test_auto_gives_the_same_numbers_while_it_tries_and_after(method: object):
    programs = [bound(tasks(mode, method, count=2)) for mode in ("sequential", "auto")]
    executors = [Executor(program) for program in programs]
    for _ in range(12):
        for program, executor in zip(programs, executors, strict=True):
            for instruction in program.plan.executed:
                executor.execute(instruction)
        for name in ("upper", "lower"):
            one, other = (program.problems[name] for program in programs)
            assert one.updates == other.updates and one.began == other.began
            for param, same in zip(
                one.model.params.values(), other.model.params.values(), strict=True
            ):
                assert torch.allclose(param, same, rtol=0, atol=1e-9)


def test_what_was_chosen_is_recorded_in_the_run_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for module in ("worth", "distribution"):
        monkeypatch.setattr(f"mlograph.tasks.{module}.cores", lambda: 2)
    result = tasks("auto", count=2, engine={"steps": 9}).run(tmp_path, quiet=True)
    assert result.directory is not None
    lines = (result.directory / "metrics.jsonl").read_text().splitlines()
    events = [x["text"] for x in map(json.loads, lines) if x.get("text")]
    (told,) = [text for text in events if "engine.execution.tasks" in text]
    choice, _, but = told.partition("; ")
    assert choice.startswith("2 loops of 'lower' take ")
    assert " s one by one and " in choice and " s at once: from here " in choice
    assert choice.endswith(("is vectorized", "is sequential"))
    assert but.startswith("worker processes are not tried: the rest of the run takes about ")
    plan = " ".join((result.directory / "plan.txt").read_text().split())
    assert "2 loops of lower one by one, all at once, in worker processes" in plan


def test_a_choice_survives_a_checkpoint():
    program = bound(tasks("auto", count=2))
    executor = Executor(program)
    for _ in range(8):
        for instruction in program.plan.executed:
            executor.execute(instruction)
    again = Executor(program)
    again.load_state_dict(executor.state_dict())
    assert again.state_dict()["tasks"] == executor.state_dict()["tasks"]
    assert executor.state_dict()["tasks"]["choices"]["upper"]["way"] is not None
    again.execute(Update("upper"))


def test_asking_for_all_at_once_in_vain_is_told():
    declared = tasks("vectorized", "gmres")
    told = [r.text for r in declared.run(quiet=True).records if r.kind == "event"]
    assert (
        "tasks: loops below 'upper' run one by one: 'gmres' of 'lower' takes one task at a time"
        in told
    )


def dropped(lower: View, upper: View, batch: Batch) -> Tensor:
    noisy = F.mse_loss(F.dropout(lower(batch[0]), 0.5), batch[1])
    return noisy + proximal(lower, upper, 2.0)


def test_loops_that_draw_random_numbers_are_left_as_they_are():
    told = [r.text for r in tasks("auto", lower={"loss": dropped}).run(quiet=True).records]
    assert (
        "the loops of 'lower' run one by one: losses draw random numbers, which would be others"
        in told
    )


def dropped_later(lower: View, upper: View, batch: Batch, step: int) -> Tensor:
    """Draws random numbers from the fourth window on."""
    x, y = batch
    shaken = F.dropout(x, 0.5) if step >= 3 * 2 * 3 else x
    return F.mse_loss(lower(shaken), y) + proximal(lower, upper, 2.0)


def test_loops_that_draw_them_later_are_left_as_they_are_from_then_on(
    monkeypatch: pytest.MonkeyPatch,
):
    for module in ("worth", "distribution"):
        monkeypatch.setattr(f"mlograph.tasks.{module}.cores", lambda: 2)
    declared = tasks("auto", "gmres", count=2, lower={"loss": dropped_later}, engine={"steps": 6})
    (told,) = [r.text for r in declared.run(quiet=True).records if "loops of" in r.text]
    assert told.startswith("the loops of 'lower' run one by one: losses draw random numbers")


def test_what_one_way_cannot_another_may(monkeypatch: pytest.MonkeyPatch):
    for module in ("worth", "distribution"):
        monkeypatch.setattr(f"mlograph.tasks.{module}.cores", lambda: 2)

    def left(*refusals: tuple[Way, bool]) -> set[Way]:
        program = bound(tasks("auto"))
        runner, (window,) = TaskRunner(program), program.plan.tasks
        assert isinstance(window, Tasks)
        for way, gone in refusals:
            runner._refused(way, window, NotAtOnceError("so", gone=gone))
        return {*runner.choices["upper"].seconds}

    assert left() == {*WAYS}
    assert left(("both", False)) == {"sequential", "vectorized", "processes"}
    assert left(("vectorized", False)) == {"sequential", "processes"}
    assert left(("processes", False)) == {"sequential", "vectorized"}
    assert left(("both", True)) == {"sequential", "vectorized"}, "a worker has died"


def test_shares_of_one_are_no_way_of_their_own(monkeypatch: pytest.MonkeyPatch):
    for module in ("worth", "distribution"):
        monkeypatch.setattr(f"mlograph.tasks.{module}.cores", lambda: 4)
    assert {*TaskRunner(bound(tasks("auto"))).choices["upper"].seconds} == {*WAYS[:3]}
    assert TaskRunner(bound(tasks("both"))).choices["upper"].way == "both"


# --- An Env that goes on from what is done with its batches


class Answered(SineEnv):
    """Each step begins where the last one's batches were left."""

    def repeat(self) -> Mapping[str, Any]:
        raise NotImplementedError


def test_what_the_env_makes_of_the_answers_is_not_drawn_before_them():
    engine = {"steps": 1}
    choices = Executor(bound(tasks("auto", env=Answered(shots=6), engine=engine))).state_dict()
    assert choices["tasks"]["choices"]["upper"]["way"] == "sequential"
    for way in WAYS[1:]:
        message = failure(lambda way=way: tasks(way, env=Answered(shots=6)).run(quiet=True))
        assert message == (
            "engine.execution.tasks: the next step of the Env follows from what is done with this "
            "one (write auto or sequential)"
        )
