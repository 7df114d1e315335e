"""Batches and states that can be had again."""

from __future__ import annotations

import random

import numpy as np
import torch
from builders import Batches, bound, line, pair, problem

from mlograph.gradcheck.frozen import Snapshot, Tape
from mlograph.program import Program
from mlograph.randomness import RandomState


def program(batches: Batches) -> Program:
    return bound(
        pair(
            problem(line(seed=1), lambda lower, batch: lower(batch).sum(), data=batches),
            problem(
                line(seed=2),
                lambda lower, upper: lower.parameters()[0].sum() * 0 + anchor(lower, upper),
            ),
        )
    )


def anchor(lower: object, upper: object) -> torch.Tensor:
    first, second = lower.parameters()[0], upper.parameters()[0]  # type: ignore[attr-defined]
    return (first - second).square().sum()


def test_a_tape_gives_the_same_batches_from_any_position():
    source = Batches(*(torch.full((1, 3), float(n)) for n in range(3)))
    tape = Tape(program(source).problems["upper"])
    first = [tape.next() for _ in range(3)]
    tape.position = 1
    assert tape.next() is first[1]
    assert tape.next() is first[2]
    assert float(tape.next()[0, 0]) == 0.0
    assert source.read == 4


def test_batches_come_in_the_numbers_of_the_problem():
    tape = Tape(program(Batches(torch.ones(1, 3, dtype=torch.float32))).problems["upper"])
    assert tape.next().dtype == torch.float64


def test_a_snapshot_holds_parameters_positions_and_random_numbers():
    first, second = (program(Batches(torch.ones(1, 3))) for _ in range(2))
    tapes = {name: Tape(problem) for name, problem in first.problems.items()}
    tapes["upper"].next()
    snapshot = Snapshot.of(first, tapes)
    drawn = (torch.rand(1), np.random.rand(), random.random())
    tapes["upper"].next()
    for problem_ in (*first.problems.values(), *second.problems.values()):
        with torch.no_grad():
            for param in problem_.model.params.values():
                param.zero_()
    snapshot.put(second, tapes)
    assert tapes["upper"].position == 1
    assert (torch.rand(1), np.random.rand(), random.random()) == drawn
    assert second.problems["upper"].model.params["weight"].any()
    assert not first.problems["upper"].model.params["weight"].any()


def test_all_random_numbers_come_again():
    state = RandomState.capture(torch.device("cpu"))
    drawn = (torch.rand(2).tolist(), np.random.rand(), random.random())
    state.restore(torch.device("cpu"))
    assert (torch.rand(2).tolist(), np.random.rand(), random.random()) == drawn
