"""Each kind of state matters: a run that goes on without one of them ends elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from interruption import Make, continued, end, states, training
from test_interruption import bilevel, dropout, maze, meta

# Per graph: after how many instructions it is cut, and what is left out then: it is as it was when
# the run began, or as a new object has it.
LEFT_OUT: list[tuple[str, Make, int, str]] = [
    ("parameters and buffers", dropout, 5, "problems.a.tensors"),
    ("accumulated gradients", dropout, 4, "problems.a.gradients"),
    ("optimiser", dropout, 6, "problems.a.optimizer"),
    ("schedule", dropout, 12, "problems.a.schedule"),
    ("updates", dropout, 6, "problems.a.updates"),
    ("scaler", lambda: dropout(precision="fp16"), 5, "problems.a.scaler"),
    ("position in the data", dropout, 5, "feeds.a"),
    ("generators of the data", dropout, 5, "feeds.a.own"),
    ("torch's generator", dropout, 5, "random.global.torch"),
    ("numpy's generator", dropout, 5, "random.global.numpy"),
    ("Python's generator", dropout, 5, "random.global.python"),
    ("position in the plan", dropout, 5, "rest.executed"),
    ("counted updates", dropout, 5, "rest.steps"),
    ("early stopping", dropout, 10, "rest.patience"),
    ("validator", dropout, 10, "rest.validator"),
    ("measurements", dropout, 5, "executor.meters"),
    ("moments", lambda: bilevel("cg"), 7, "problems.lower.moment"),
    ("warm starts", lambda: bilevel("soba"), 9, "executor.adjoints"),
    ("recorded loops", lambda: bilevel("unroll"), 6, "executor.recordings"),
    ("Env", meta, 4, "env.env"),
    ("batches of the Env", meta, 4, "env.current"),
    ("Env that learners act in", maze, 4, "env.env"),
]


def entries(state: Any, place: str) -> tuple[dict[str, Any], str]:
    """The mapping that holds a place of a packed state, and its key there."""
    *path, last = place.split(".")
    for key in path:
        state = state[key]
        if isinstance(state, tuple) and state[0] == "record":
            state = state[3]
    return state, last


@pytest.mark.parametrize(
    ("make", "cut", "place"), [case[1:] for case in LEFT_OUT], ids=[case[0] for case in LEFT_OUT]
)
def test_a_run_without_it_ends_elsewhere(make: Make, cut: int, place: str, tmp_path: Path):
    expected = end(training(make))
    folder = tmp_path / "checkpoints"
    new = training(make, folder)._take().state
    end(training(make, folder))
    state = states(folder)[cut - 1]
    assert continued(make, state, expected) == []
    holder, key = entries(state, place)
    blank = entries(new, place)
    assert holder[key] is not blank[0].get(key)
    holder[key] = blank[0][blank[1]]
    try:
        found = continued(make, state, expected)
    except Exception as error:
        # It may be missed at once.
        found = [str(error)]
    assert found != []
