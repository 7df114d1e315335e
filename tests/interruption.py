"""Runs that are cut between two instructions, and what is left to compare at their ends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from mlograph import Graph
from mlograph.checkpoints import Signals, Store, read, unequal
from mlograph.components import Imports
from mlograph.keeping import Keeper
from mlograph.language.spec import CheckpointSpec
from mlograph.parts import built
from mlograph.randomness import seed_everything
from mlograph.snapshot import fingerprint, placed_on
from mlograph.training import Training

Make = Callable[[], Graph]

CPU = torch.device("cpu")
ALWAYS = CheckpointSpec(minutes=1e-12, keep=1_000_000)


def training(make: Make, folder: Path | None = None) -> Training:
    """A run of a graph that is made anew; saved in `folder` after every instruction."""
    graph = make()
    seed_everything(graph.spec.engine.seed)
    parts = built(graph.structure, graph.plan(), Imports())
    keeper = None
    if folder is not None:
        folder.mkdir(exist_ok=True)
        keeper = Keeper(folder, ALWAYS, Signals(ends_process=False))
    return Training(parts.program, graph.spec.engine, parts.validator, parts.loggers, (), keeper)


def end(run: Training) -> dict[str, Any]:
    """Everything that a run is when it has come to its end, but the time it took."""
    run.train()
    state = run._take().state
    told = [(r.kind, r.step, dict(r.values), r.text) for r in run.journal.records]
    return {**fingerprint(state), "told": repr(told)}


def states(folder: Path) -> list[dict[str, Any]]:
    """What was saved, in order."""
    return [read(path, placed_on(CPU)) for path in reversed(Store(folder).paths())]


def differences(make: Make, folder: Path) -> dict[int, list[str]]:
    """Where runs that go on after each instruction end elsewhere than the one that was not cut.

    Args:
        make: the graph.
        folder: for checkpoints.

    Returns:
        By number of instructions, what differs; under -1, what saving itself changes.
    """
    expected = end(training(make))
    found = {-1: list(unequal(expected, end(training(make, folder))))}
    for number, state in enumerate(states(folder), start=1):
        found[number] = continued(make, state, expected)
    return {number: places for number, places in found.items() if places}


def continued(make: Make, state: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """What differs at the end of a run that goes on from `state`."""
    run = training(make)
    # Others have used the generators meanwhile.
    seed_everything(99)
    run.resume(state)
    # A file would have told what was told before.
    return [place for place in unequal(expected, end(run)) if place != "told"]
