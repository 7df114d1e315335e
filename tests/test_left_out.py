"""Each kind of state matters: a run that goes on without one of them ends elsewhere."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
from builders import Batches, graph, line, points, problem
from interruption import Make, end, states, training
from test_interruption import Scripted, bilevel, dropout, maze, meta, restarted
from torch import Tensor, nn

import mlograph
from mlograph.checkpoints import unequal
from mlograph.randomness import seed_everything


class Tiring(nn.Module):
    """Counts its calls where no tensor does, and drops nothing out after the first."""

    def __init__(self) -> None:
        super().__init__()
        self.calls, self.linear, self.drop = 0, line(), nn.Dropout(0.5)

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        found: Tensor = self.linear(self.drop(x)) * (1.0 + 0.01 * self.calls)
        self.drop.eval()
        return found

    def get_extra_state(self) -> Any:
        return {"calls": self.calls}

    def set_extra_state(self, state: Any) -> None:
        self.calls = state["calls"]


class Positioned:
    """Data that tell where they stand."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[Any]:
        while True:
            self.at += 1
            yield points(4, seed=self.at)

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


def single(module: nn.Module, data: object, *, steps: int = 6, **engine: Any) -> mlograph.Graph:
    spec = {"data": data, "gradient_accumulation": 2}
    loss = {"_target_": "mse", "model": "a"}
    return graph({"a": problem(module, loss, **spec)}, steps=steps, engine=engine)


def tiring() -> mlograph.Graph:
    return single(Tiring(), Positioned())


def skipping() -> mlograph.Graph:
    """The third of eight batches has a target that is no number."""
    batches = [points(4, seed=n) for n in range(8)]
    batches[2][1][0] = float("nan")
    return single(line(), Batches(*batches), on_nonfinite="skip", log_every=2)


def best() -> mlograph.Graph:
    validate = {"validator": Scripted(), "every": 1}
    return single(
        line(), Positioned(), validate=validate, checkpoint={"best": "score", "mode": "max"}
    )


def chosen_by_the_clock() -> mlograph.Graph:
    """Tasks at once or one by one, compiled or not: both are measured, and told once."""
    declared = meta()
    execution = {"tasks": "auto", "compile": "auto"}
    engine = {"device": "cpu", "steps": 11, "log_every": 1, "execution": execution}
    problems, edges, env = declared.spec.problems, declared.spec.edges, declared.spec.env
    return mlograph.Graph(problems=problems, edges=edges, env=env, engine=engine)


# Per graph: after how many instructions it is cut, and what is left out then: it is as it was when
# the run began, or as a new object has it.
LEFT_OUT: list[tuple[str, Make, int, str]] = [
    ("parameters and buffers", dropout, 5, "problems.a.tensors"),
    ("extra state of a module", tiring, 5, "problems.a.extras"),
    ("training modes", tiring, 5, "problems.a.modes"),
    ("accumulated gradients", dropout, 4, "problems.a.gradients"),
    ("optimiser", dropout, 6, "problems.a.optimizer"),
    ("schedule", dropout, 12, "problems.a.schedule"),
    ("updates", dropout, 6, "problems.a.updates"),
    ("where a loop began", lambda: restarted("unroll"), -1, "problems.lower.began"),
    ("scaler", lambda: dropout(precision="fp16"), 5, "problems.a.scaler"),
    ("position in the data", dropout, 5, "feeds.a"),
    ("generators of the data", dropout, 5, "feeds.a.own"),
    ("position that the data tell", tiring, 5, "feeds.a.source"),
    ("torch's generator", dropout, 5, "random.global.torch"),
    ("numpy's generator", dropout, 5, "random.global.numpy"),
    ("Python's generator", dropout, 5, "random.global.python"),
    ("position in the plan", dropout, 5, "rest.executed"),
    ("counted updates", dropout, 5, "rest.steps"),
    ("that it has ended", dropout, -1, "rest.ended"),
    ("early stopping", dropout, 10, "rest.patience"),
    ("validator", dropout, 10, "rest.validator"),
    ("the best value", best, 5, "rest.best"),
    ("skipped updates that were told", skipping, 8, "rest.skipped"),
    ("skipped updates", skipping, 8, "executor.skipped"),
    ("a pass that was not finite", skipping, 4, "executor.poisoned"),
    ("measurements", dropout, 5, "executor.meters"),
    ("moments", lambda: bilevel("cg"), 7, "problems.lower.moment"),
    ("warm starts", lambda: bilevel("soba"), 9, "executor.adjoints"),
    ("recorded loops", lambda: bilevel("unroll"), 6, "executor.recordings"),
    ("how tasks are run", chosen_by_the_clock, -12, "executor.tasks"),
    ("what is compiled", chosen_by_the_clock, -12, "executor.compiling"),
    ("Env", meta, 4, "env.env"),
    ("batches of the Env", meta, 4, "env.current"),
    ("Env that learners act in", maze, 4, "env.env"),
    ("that an Env has stepped", maze, 4, "env.stepped"),
]

# What no number depends on, and what a run without it does.
OTHERS: Mapping[str, str] = {
    "plan": "is refused: it is compared with the graph's",
    "lost": "is refused: it says what could not be saved",
    "machine": "is refused: it is compared with this machine",
    "random.cuda": "is empty without a graphics card",
    "rest.elapsed": "tells another time",
    "rest.positions": "writes its records anew",
    "rest.prefetching": "finds out once more whether to read data ahead",
    "executor.remarks": "does not say what was to be said with the next records",
    "executor.told": "says once more how a linear system ended",
    "executor.doubted": "says once more what looks odd about a field",
}

# Where a state has parts that are told apart here.
PARTS = ("problems.*", "feeds.*", "random.global", "random", "env", "rest", "executor")


def entries(state: Any, place: str) -> tuple[dict[str, Any], str]:
    """The mapping that holds a place of a packed state, and its key there."""
    *path, last = place.split(".")
    for key in path:
        state = inside(state[key])
    return state, last


def inside(value: Any) -> Any:
    return value[3] if isinstance(value, tuple) and value[0] == "record" else value


def places(value: Any, at: str = "") -> Iterator[str]:
    """All kinds of state in a packed state, `*` for a problem."""
    named = at in {"problems", "feeds"}
    for key, part in value.items():
        place = f"{at}.{'*' if named else key}".removeprefix(".")
        if place == "env" and part is None:
            continue
        if place in {"problems", "feeds", *PARTS} and isinstance(inside(part), dict):
            yield from places(inside(part), place)
        else:
            yield place


@dataclass(frozen=True)
class Saved:
    """A run that was saved after every instruction.

    Attributes:
        new: its state before the first one.
        states: after each.
        end: what it was at its end.
    """

    new: dict[str, Any]
    states: list[dict[str, Any]]
    end: dict[str, Any]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Make], Saved]:
    @cache
    def run(make: Make) -> Saved:
        folder = tmp_path_factory.mktemp("run") / "checkpoints"
        new = training(make, folder)._take().state
        expected = end(training(make, folder))
        return Saved(new, states(folder), expected)

    return run


def ended(make: Make, state: dict[str, Any]) -> dict[str, Any]:
    """What a run that goes on from a state is at its end, with all that it told since."""
    run = training(make)
    seed_everything(99)
    run.resume(copy.deepcopy(state))
    return end(run)


@pytest.mark.parametrize(
    ("make", "cut", "place"), [case[1:] for case in LEFT_OUT], ids=[case[0] for case in LEFT_OUT]
)
def test_a_run_without_it_ends_elsewhere(
    make: Make, cut: int, place: str, saved: Callable[[Make], Saved]
):
    run = saved(make)
    state = copy.deepcopy(run.states[cut - 1 if cut > 0 else cut])
    whole = ended(make, state)
    assert [place for place in unequal(run.end, whole) if place != "told"] == []
    holder, key = entries(state, place)
    blank, _ = entries(run.new, place)
    assert holder[key] is not blank.get(key)
    if key in blank:
        holder[key] = blank[key]
    else:
        del holder[key]
    try:
        found = list(unequal(whole, ended(make, state)))
    except Exception as error:
        # It may be missed at once.
        found = [str(error)]
    assert found != []


def test_no_kind_of_state_is_missing_here(saved: Callable[[Make], Saved]):
    makes = {make for _, make, _, _ in LEFT_OUT}
    found = {place for make in makes for one in saved(make).states for place in places(one)}
    # Problems are called a, lower and upper.
    listed = {re.sub(r"(problems|feeds)\.\w+", r"\1.*", place) for *_, place in LEFT_OUT}
    # What data keep beside what is left out above, they keep together.
    listed |= {f"feeds.*.{key}" for key in ("open", "drawn", "began", "first")}
    assert found - listed - OTHERS.keys() == set()
    assert OTHERS.keys() - found == set()
