"""Processes that read ahead: what they save, what they change and what they leave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import graph, line, problem, weights
from prefetch_sources import Noisy, Points, Traced, expectant, sleepy
from torch.utils.data import DataLoader

from mlograph import Graph
from mlograph.bind import bind
from mlograph.components import Imports
from mlograph.envs.learn2learn_import import Learn2learnMissingError, import_learn2learn
from mlograph.prefetch import Prefetching
from mlograph.randomness import seed_everything
from mlograph.training import Training

FEW_SHOT = {"_target_": "mlograph.envs.FewShotEnv", "dataset": "glyphs", "ways": 3, "shots": 1}


def declared(how: str, source: Any, loss: Any, steps: int) -> Graph:
    is_env = isinstance(source, Noisy)
    part = problem(
        line(), loss, optimizer={"_target_": "adam"}, data="env.points" if is_env else source
    )
    engine = {"log_every": 1, "execution": {"prefetch": how}}
    env = {"env": source} if is_env else {}
    return graph({"a": part}, steps=steps, engine=engine, **env)


def begun(declared: Graph) -> Training:
    seed_everything(0)
    program = bind(declared.structure, declared.plan(), Imports())
    how = declared.spec.engine.execution.prefetch
    return Training(
        program, declared.spec.engine, None, (), prefetching=Prefetching.of(how, program)
    )


def has_ended(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return True
    return False


def make(run: Training, steps: int) -> None:
    goal = run.progress.steps + steps
    while run.progress.steps < goal:
        run._advance()


def test_the_next_batch_is_read_while_a_loss_is_computed(tmp_path: Path):
    loss = {"_target_": expectant, "folder": str(tmp_path)}
    run = begun(declared("on", Traced(tmp_path), loss, 100))
    try:
        lane = run.prefetching.lanes["env"]
        until(lambda: lane.state is not None, run)
        (tmp_path / "wait").touch()
        make(run, 30)
        assert lane.process is not None and not has_ended(lane.process)
    finally:
        run.prefetching.close()
    number = lane.process
    assert number is None


def test_a_process_that_is_killed_is_done_without():
    def shuffled() -> Any:
        return DataLoader(Points("numpy"), 2, shuffle=True)

    whole = declared("off", shuffled(), sleepy, 12).run(quiet=True)
    run = begun(declared("on", shuffled(), sleepy, 12))
    make(run, 6)
    number = run.prefetching.lanes["problems.a.data"].process
    assert number is not None
    os.kill(number, signal.SIGKILL)
    run.train()
    run.prefetching.close()
    assert has_ended(number)
    module = run.program.problems["a"].model.module
    assert all(map(torch.equal, module.parameters(), weights(whole, "a")))
    (told,) = [record.text for record in run.journal.records if record.text]
    assert told.endswith("is not read ahead: the process that did so was ended by SIGKILL")


@pytest.mark.slow
def test_what_is_chosen_by_the_clock_is_told_and_kept():
    run = begun(declared("auto", Noisy(seconds=0.04), sleepy, 2000))
    try:
        lane = run.prefetching.lanes["env"]
        until(lambda: lane.choice.way is not None, run)
        assert lane.choice.way == "ahead", lane.choice
        make(run, 1)
        (told,) = [record.text for record in run.journal.records if record.text]
        assert told.endswith("from here engine.execution.prefetch is on for it")
        state = run._take().state
    finally:
        run.prefetching.close()
    again = begun(declared("auto", Noisy(seconds=0.04), sleepy, 2000))
    try:
        again.resume(state)
        make(again, 3)
        assert again.prefetching.lanes["env"].process is not None
    finally:
        again.prefetching.close()


def until(reached: Callable[[], bool], run: Training) -> None:
    deadline = time.monotonic() + 60
    while not reached() and time.monotonic() < deadline:
        run._advance()
    assert reached()


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["builtin", "learn2learn"])
def test_few_shot_tasks_are_the_same(sampler: str):
    if sampler == "learn2learn":
        try:
            import_learn2learn()
        except Learn2learnMissingError as error:
            pytest.skip(f"no learn2learn: {error}")
    found = {how: few_shot(how, sampler) for how in ("off", "on")}
    assert all(map(torch.equal, *found.values()))


def few_shot(how: str, sampler: str) -> list[torch.Tensor]:
    part = {
        "module": {"_target_": "mlograph.nn.ConvNet", "ways": 3, "hidden": 4},
        "optimizer": {"_target_": "sgd", "lr": 0.1},
        "loss": {"_target_": "mlograph.losses.cross_entropy", "model": "a"},
        "data": "env.support",
    }
    env = {**FEW_SHOT, "tasks": sampler, "augment": {"rotate": 10}}
    run = begun(graph({"a": part}, steps=12, env=env, engine={"execution": {"prefetch": how}}))
    try:
        run.train()
        assert (how == "on") == any(x.standing() for x in run.prefetching.lanes.values())
    finally:
        run.prefetching.close()
    assert not [record.text for record in run.journal.records if record.text]
    return [p.detach() for p in run.program.problems["a"].model.module.parameters()]
