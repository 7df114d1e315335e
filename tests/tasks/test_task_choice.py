"""How `auto` finds out what is faster, and what it leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from builders import bound
from task_graphs import CG, tasks

from mlograph.executor import Executor
from mlograph.plan import Update
from mlograph.tasks.choice import Choice


def chosen(at_once: float, one_by_one: float) -> Choice:
    """A choice after as many windows as it takes; the first of each way are slow."""
    choice = Choice()
    for number in range(100):
        way = choice.next()
        seconds = at_once if way == "vectorized" else one_by_one
        if choice.took(way, seconds + (5.0 if number < 2 else 0.0)):
            break
    return choice


def test_the_faster_way_is_kept():
    assert chosen(0.1, 0.2).next() == "vectorized"
    assert chosen(0.2, 0.1).next() == "sequential"
    assert chosen(0.1, 0.2).best == {"vectorized": 0.1, "sequential": 0.2}


def test_both_ways_are_tried_in_turn_beginning_one_by_one():
    choice, order = Choice(), []
    while choice.way is None:
        order.append(choice.next())
        choice.took(order[-1], 1.0)
    assert order == ["sequential", "vectorized"] * 4


def test_after_it_is_settled_nothing_is_measured():
    choice = chosen(0.1, 0.2)
    assert not choice.took("vectorized", 9.0)
    assert choice.best["vectorized"] == 0.1


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


def test_what_was_chosen_is_recorded_in_the_run_directory(tmp_path: Path):
    result = tasks("auto", count=2, engine={"steps": 9}).run(tmp_path, quiet=True)
    assert result.directory is not None
    lines = (result.directory / "metrics.jsonl").read_text().splitlines()
    events = [x["text"] for x in map(json.loads, lines) if x.get("text")]
    (told,) = [text for text in events if "engine.execution.tasks" in text]
    assert told.startswith("2 loops of 'lower' take ")
    assert told.endswith(("is vectorized", "is sequential"))
    assert "2 loops of lower, all at once, or one by one" in (
        result.directory / "plan.txt"
    ).read_text().replace("\n             ", " ")


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
