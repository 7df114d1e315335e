"""Everything that a run is between two instructions, as plain containers, and put back.

What is not here is made again from the graph file: modules, losses, data and methods.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.serialization import default_restore_location
from torch.types import Storage

from mlograph import plan as plans
from mlograph.blame import blame
from mlograph.checkpoints import Packer, Unpacker
from mlograph.envs.maze import Maze, Walk, Walkers
from mlograph.errors import MlographError, StorageError
from mlograph.executor import Executor
from mlograph.plan import Plan
from mlograph.problem import Moment
from mlograph.program import Program
from mlograph.randomness import RandomState, global_state, set_global_state
from mlograph.readings import Stateful
from mlograph.recording import PARTS
from mlograph.state import ProblemState, capture, restore

KNOWN: Mapping[str, type] = {
    kind.__name__: kind for kind in (*PARTS, Maze, Moment, ProblemState, RandomState, Walk, Walkers)
}


@dataclass(frozen=True)
class Snapshot:
    """The state of a run.

    Attributes:
        state: plain containers of tensors, some of them the run's own: to be written at once.
        lost: what is no plain container, and therefore not in it.
    """

    state: dict[str, Any]
    lost: tuple[str, ...]


def take(
    program: Program,
    executor: Executor,
    rest: Mapping[str, Any],
    hide: Callable[[str], str] = str,
) -> Snapshot:
    """The state of a run as it is now.

    Args:
        program: its problems, its Env and its plan.
        executor: between two instructions.
        rest: what else there is to say, in containers.
        hide: takes what came from the environment out of what is still to be told.
    """
    env = program.env
    packer = Packer(KNOWN, _alive(program))
    # In the order in which it is put back.
    state = {
        "plan": outline(program.plan),
        "env": None if env is None else packer.pack(env.state_dict(), "env"),
        "feeds": {
            name: packer.pack(problem.feed.state_dict(), f"problems.{name}.data")
            for name, problem in program.problems.items()
            if isinstance(problem.feed, Stateful)
        },
        "problems": {
            name: packer.pack(capture(problem), f"problems.{name}")
            for name, problem in program.problems.items()
        },
        "executor": packer.pack(executor.state_dict(), "what is recorded"),
        "rest": packer.pack(dict(rest), "engine"),
        "random": {"global": global_state(), "cuda": _cuda_states()},
    }
    _hide(state["executor"], hide)
    _hide(state["rest"], hide)
    return Snapshot({**state, "lost": list(packer.lost)}, tuple(packer.lost))


def put_back(state: Mapping[str, Any], program: Program, executor: Executor) -> dict[str, Any]:
    """Make a run that has just been built what it was when `state` was taken.

    Returns:
        The rest that was saved with it.

    Raises:
        StorageError: it is the state of another graph, or some of it could not be saved.
    """
    check(state, program)
    if state["lost"]:
        raise StorageError(
            "this run cannot go on as it was, since its state could not be saved in full: "
            + "; ".join(state["lost"])
        )
    unpacker = Unpacker(KNOWN)
    if program.env is not None:
        env = unpacker.unpack(state["env"])
        with putting_back("env"):
            program.env.load_state_dict(env)
        unpacker.alive = _alive(program)
    for name, problem in program.problems.items():
        if isinstance(problem.feed, Stateful):
            problem.feed.load_state_dict(unpacker.unpack(state["feeds"][name]))
    for name, problem in program.problems.items():
        problem_state = unpacker.unpack(state["problems"][name])
        with putting_back(f"problems.{name}"):
            restore(problem, problem_state)
    executor.load_state_dict(unpacker.unpack(state["executor"]))
    rest: dict[str, Any] = unpacker.unpack(state["rest"])
    _set_cuda_states(state["random"]["cuda"])
    set_global_state(state["random"]["global"])
    return rest


def _hide(state: dict[str, Any], hide: Callable[[str], str]) -> None:
    """In place, hide what texts to be told, or told already, repeat of the user's own errors."""
    for key, value in state.items():
        if key in {"remarks", "said"}:
            state[key] = [hide(text) for text in value]
        elif isinstance(value, dict):
            _hide(value, hide)


@contextmanager
def putting_back(place: str) -> Iterator[None]:
    """What the user's own classes raise when they are given their states is told with its place."""
    try:
        yield
    except MlographError:
        raise
    except Exception as error:
        raise StorageError(f"{place}: its state cannot be put back: {blame(error)}") from error


def fingerprint(state: Mapping[str, Any]) -> dict[str, Any]:
    """What of a state two runs share that are the same: all but the time and the machine."""
    ignored = {"elapsed": None, "positions": None, "prefetching": None}
    tasks = {**state["executor"]["tasks"], "choices": None}
    return {
        **state,
        "machine": None,
        "rest": {**state["rest"], **ignored},
        "executor": {**state["executor"], "tasks": tasks},
    }


def problems_of(state: Mapping[str, Any]) -> dict[str, ProblemState]:
    """The problems alone, without what they were last evaluated on."""
    found = {}
    for name, packed in state["problems"].items():
        _, _, _, entries = packed
        bare = {**entries, "moment": None, "gradients": {}}
        found[name] = ProblemState(**Unpacker(KNOWN).unpack(bare))
    return found


def check(state: Mapping[str, Any], program: Program) -> None:
    """Refuse the state of another graph.

    Raises:
        StorageError: the plan differs, or names or shapes of a problem's tensors do.
    """
    if state["plan"] != outline(program.plan):
        raise StorageError("the checkpoint was saved by a graph with another plan")
    different = differing(program, problems_of(state))
    if different:
        verb = "differs" if len(different) == 1 else "differ"
        raise StorageError(f"was saved by another graph: {', '.join(different)} {verb}")


def differing(program: Program, saved: Mapping[str, ProblemState]) -> list[str]:
    """The problems whose tensors have other names or shapes than the saved ones."""
    if saved.keys() != program.problems.keys():
        return sorted(saved.keys() ^ program.problems.keys())
    return [
        name
        for name, problem in program.problems.items()
        if {k: x.shape for k, x in problem.model.tensors().items()}
        != {k: x.shape for k, x in saved[name].tensors.items()}
    ]


def placed_on(device: torch.device) -> Callable[[Storage, str], Storage]:
    """For `checkpoints.read`: what was on an accelerator goes to `device`, the rest to the CPU."""

    def place(storage: Storage, location: str) -> Storage:
        wanted = "cpu" if location == "cpu" else str(device)
        found: Storage = default_restore_location(storage, wanted)
        return found

    return place


def outline(plan: Plan) -> str:
    """What a position in the plan refers to; the number of steps may change."""
    executed = ", ".join(map(str, plan.executed))
    parts = (plans.text(plan.prologue), plans.text(plan.period), executed, plan.counted)
    return "; ".join(parts)


def _alive(program: Program) -> dict[str, Any]:
    return dict(program.env.again) if program.env is not None else {}


def _cuda_states() -> list[torch.Tensor]:
    return torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []


def _set_cuda_states(states: list[torch.Tensor]) -> None:
    if states and torch.cuda.is_available() and len(states) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(states)
