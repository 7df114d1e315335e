"""What is read ahead changes no number: neither of the run nor of what it leaves behind."""

from __future__ import annotations

import io
import itertools
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from builders import bound, graph, line, problem
from prefetch_sources import (
    Deaf,
    Elsewhere,
    Handles,
    Inline,
    Mortal,
    Noisy,
    Points,
    Positioned,
    Stream,
    Teacher,
    dropped,
    fit,
    fit_two,
)
from torch.utils.data import DataLoader, RandomSampler

from mlograph import Graph
from mlograph.checkpoints import unequal
from mlograph.data import full_batch
from mlograph.errors import UsageError
from mlograph.loggers.memory import Memory
from mlograph.prefetch import Prefetching
from mlograph.randomness import seed_everything
from mlograph.readings import fingerprint
from mlograph.snapshot import fingerprint as fingerprint_of_run
from mlograph.training import Training

ADAM = {"_target_": "adam", "lr": 0.05}


def loader(kind: str = "none", **options: Any) -> DataLoader[Any]:
    return DataLoader(Points(kind), 3, **options)


def seeded_loader() -> DataLoader[Any]:
    """With a sampler and a generator of its own."""
    generator = torch.Generator().manual_seed(8)
    data = Points("own")
    sampler = RandomSampler(data, generator=generator)
    return DataLoader(data, 2, sampler=sampler, generator=generator)


SOURCES: dict[str, Callable[[], Any]] = {
    **{f"loader-{kind}": lambda kind=kind: loader(kind) for kind in ("none", "own", "torch")},
    **{f"loader-{kind}": lambda kind=kind: loader(kind) for kind in ("numpy", "python")},
    "shuffled": lambda: loader(shuffle=True),
    "shuffled-numpy": lambda: loader("numpy", shuffle=True),
    "own-sampler": seeded_loader,
    "stream": Stream,
    "stream-python": lambda: Stream("python"),
}
ENVS: dict[str, Callable[[], Any]] = {
    **{f"env-{kind}": lambda kind=kind: Noisy(kind) for kind in ("own", "torch", "numpy")},
    "env-python": lambda: Noisy("python"),
}


def declared(how: str, source: Any, loss: Any = fit, steps: int = 17, network: Any = None) -> Graph:
    """One problem on an Env or on data, which is counted in updates."""
    is_env = isinstance(source, Noisy | Teacher)
    data = "env.points" if is_env else source
    engine = {"seed": 3, "execution": {"prefetch": how}}
    part = problem(network or line(), loss, optimizer=ADAM, data=data)
    env = {"env": source} if is_env else {}
    return graph({"a": part}, steps=steps, engine=engine, **env)


def prepared(declared: Graph, start: Any = Inline) -> Training:
    """A run that is about to begin."""
    engine = declared.structure.spec.engine
    seed_everything(engine.seed)
    program = bound(declared)
    prefetching = Prefetching.of(engine.execution.prefetch, program, start)
    return Training(program, engine, None, (Memory(),), prefetching=prefetching)


def outcome(declared: Graph, start: Any = Inline) -> tuple[str, list[str]]:
    """All that a run leaves: its weights and the state of every generator, and what it told."""
    training = prepared(declared, start)
    try:
        training.train()
    finally:
        training.prefetching.close()
    module = training.program.problems["a"].model.module
    numbers = [np.random.get_state()[1], np.random.random(), random.random()]
    left = [*module.parameters(), torch.get_rng_state(), *numbers]
    return fingerprint(left), [r.text for r in training.journal.records if r.text]


def saved(run: Training) -> dict[str, Any]:
    """The state of a run, as a file would give it back."""
    file = io.BytesIO()
    torch.save(run._take().state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def end(run: Training) -> dict[str, Any]:
    """All that a run is at its end."""
    try:
        run.train()
        return fingerprint_of_run(saved(run))
    finally:
        run.prefetching.close()


def going_places(run: Training) -> list[str]:
    """The sources that are read ahead."""
    return [place for place, lane in run.prefetching.lanes.items() if lane.standing() is not None]


@pytest.mark.parametrize("name", [*SOURCES, *ENVS])
def test_the_numbers_are_the_same(name: str):
    make = {**SOURCES, **ENVS}[name]
    off, _ = outcome(declared("off", make()))
    on, told = outcome(declared("on", make()))
    assert on == off
    assert told == []
    assert Inline.alive == 0


@pytest.mark.parametrize(
    "name", ["shuffled", "loader-numpy", "env-own", "env-torch", "loader-torch"]
)
def test_they_are_where_others_draw_random_numbers_too(name: str):
    make = {**SOURCES, **ENVS}[name]
    off, _ = outcome(declared("off", make(), dropped))
    on, told = outcome(declared("on", make(), dropped))
    assert on == off
    place = "env" if name.startswith("env") else "problems.a.data"
    why = f"{place} is not read ahead: it draws random numbers from torch, as others of the run do"
    assert told == ([why] if name.endswith("-torch") else [])


@pytest.mark.parametrize("name", ["own-sampler", "shuffled", "env-numpy"])
def test_a_run_goes_on_from_any_instruction(name: str):
    make = {**SOURCES, **ENVS}[name]
    off = prepared(declared("off", make(), steps=9))
    whole = end(off)
    assert going_places(off) == []
    run = prepared(declared("on", make(), steps=9))
    states = []
    while run.progress.steps < 8:
        run._advance()
        states.append(saved(run))
    assert len(going_places(run)) == 1
    run.prefetching.close()
    for state, how in itertools.product(states, ("on", "off")):
        again = prepared(declared(how, make(), steps=9))
        seed_everything(99)
        again.resume(state)
        assert [*unequal(whole, end(again))] == []


def test_what_was_saved_is_what_would_have_been_without():
    states = {}
    for how in ("on", "off"):
        run = prepared(declared(how, loader("numpy", shuffle=True), steps=9))
        states[how] = []
        for _ in range(8):
            run._advance()
            states[how].append(saved(run))
        run.prefetching.close()
    for one, other in zip(states["on"], states["off"], strict=True):
        assert [*unequal(fingerprint_of_run(one), fingerprint_of_run(other))] == []


@pytest.mark.parametrize("how", ["off", "on"])
@pytest.mark.parametrize(
    ("source", "message"),
    [
        (lambda: Noisy(fails_at=6), "env: ValueError: no more points (prefetch_sources.py:"),
        (
            lambda: DataLoader(Points(fails_at=4), 1),
            "problems.a.data: KeyError: 'lost' (prefetch_sources.py:",
        ),
    ],
    ids=["env", "data"],
)
def test_what_fails_ahead_fails_where_it_is_wanted(source: Any, message: str, how: str):
    run = prepared(declared(how, source(), steps=30))
    with pytest.raises(UsageError) as caught:
        run.train()
    assert str(caught.value).startswith(message)
    assert run.progress.steps == (5 if message.startswith("env") else 4)
    run.prefetching.close()
    assert Inline.alive == 0


def test_validation_sees_the_same_batches():
    seen = {}
    for how in ("off", "on"):
        run = prepared(declared(how, seeded_loader()))
        found = []
        for _ in range(9):
            run._advance()
            problem = run.program.problems["a"]
            with problem.feed.aside():
                found.append(fingerprint(problem.feed.next()))
        run.prefetching.close()
        seen[how] = found
    assert seen["off"] == seen["on"]


def test_whoever_looks_at_the_env_finds_it_where_the_run_is():
    run = prepared(declared("on", Noisy()))
    for count in range(1, 9):
        run._advance()
        run._advance()
        assert run.program.env is not None
        env = run.program.env.env
        assert isinstance(env, Noisy) and env.count == count
    run.prefetching.close()


def test_sources_of_which_no_copy_would_do_are_read_here():
    network = line()
    sources = {
        "it holds a parameter that the run trains": Stream(holds=network.weight),
        "a batch holds a Handle, through which the run may change what comes next": Handles(),
        "an iterator can be read only once": iter([*Stream(length=9)]),
        "its batches are in memory": full_batch(Points()),
        "it keeps its position itself": Positioned(),
        "its own workers read ahead": loader(num_workers=1),
        "no copy of it can be sent to a process: cannot pickle 'generator' object": Stream(
            holds=(x for x in "ab")
        ),
    }
    for reason, source in sources.items():
        told = outcome(declared("on", source, network=network, steps=6))[1]
        said = [text for text in told if reason in text]
        assert told and said == told, (reason, told)


def test_a_generator_of_two_sources_is_moved_in_one_place():
    def run(how: str) -> tuple[str, list[str]]:
        both = torch.Generator().manual_seed(1)
        data = {k: DataLoader(Points(), 2, shuffle=True, generator=both) for k in ("x", "y")}
        return outcome(declared(how, data, fit_two))

    assert run("on")[0] == run("off")[0]
    assert "another source draws from its random generator" in run("on")[1][0]


def test_a_source_that_is_another_elsewhere_is_read_here():
    off, _ = outcome(declared("off", Elsewhere()))
    on, told = outcome(declared("on", Elsewhere()))
    assert on == off
    assert told == ["env is not read ahead: another process reads other batches from it"]


@pytest.mark.parametrize("helper", [Mortal, Deaf])
def test_where_the_process_ends_the_run_goes_on_by_itself(helper: Any):
    off, _ = outcome(declared("off", seeded_loader()))
    on, told = outcome(declared("on", seeded_loader()), helper)
    assert on == off
    assert told == [
        "problems.a.data is not read ahead: the process that did so was ended by SIGKILL"
    ]


def test_no_more_is_kept_than_one_instruction_takes():
    run = prepared(declared("on", Noisy()))
    for _ in range(12):
        run._advance()
    lane = run.prefetching.lanes["env"]
    assert isinstance(lane._process, Inline)
    assert len(lane._process.answers) == lane.terms.depth == 1
    run.prefetching.close()


def test_cheap_sources_have_no_process():
    run = prepared(declared("auto", Noisy(), steps=30))
    run.train()
    lane = run.prefetching.lanes["env"]
    assert (lane.choice.way, lane.process) == ("here", None)
    assert Inline.alive == 0


def maml(how: str, tasks: str) -> Graph:
    """Three sine waves an update, each with a loop of its own."""
    line_of = {"_target_": "mlograph.nn.MLP", "sizes": [1, 4, 1]}
    outer = {"loss": {"_target_": "mlograph.losses.mse", "model": "inner"}, "data": "env.query"}
    inner = {
        "loss": {"_target_": "mlograph.losses.mse", "model": "inner"},
        "data": "env.support",
        "start_from": "outer",
        "unroll_steps": 2,
        "hypergradient": {"method": "unroll"},
    }
    return graph(
        {
            "outer": problem(line_of, **outer, optimizer=ADAM, gradient_accumulation=3),
            "inner": problem({"copy": "outer"}, **inner),
        },
        steps=6,
        edges=[("u2l", "outer", "inner"), ("l2u", "inner", "outer")],
        env={"_target_": "mlograph.envs.SineEnv"},
        engine={"execution": {"prefetch": how, "tasks": tasks}},
    )


@pytest.mark.parametrize(("tasks", "depth"), [("sequential", 1), ("vectorized", 3)])
def test_tasks_that_are_drawn_at_once_are_kept_ready_together(tasks: str, depth: int):
    ends = []
    for how in ("off", "on"):
        run = prepared(maml(how, tasks))
        run.train()
        for lane in run.prefetching.lanes.values():
            assert lane.terms.depth == depth
            assert isinstance(lane._process, Inline)
            assert len(lane._process.answers) == depth
        ends.append([*run.program.problems["outer"].model.module.parameters()])
        run.prefetching.close()
    assert all(map(torch.equal, *ends))
