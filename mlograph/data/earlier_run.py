"""What another run has learned, for a graph that goes on from there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from mlograph.checkpoints import Store, understood
from mlograph.errors import UsageError, did_you_mean


def learned(run: str, problem: str) -> dict[str, Tensor]:
    """The parameters and buffers that a problem of another run ended with, by name.

    A graph that continues what another has begun takes them as an argument of a module:

        module:
          _target_: mlograph.nn.loaded
          module: {_target_: mlograph.nn.MLP, sizes: [64, 10]}
          weights: {_target_: mlograph.data.learned, run: runs/pretrain, problem: body}

    Args:
        run: the directory of a run, or one that holds runs, such as `runs/NAME`: the last of
            them that has ended. Relative to where the command is given.
        problem: its name in that run's graph.

    Returns:
        Tensors on the CPU.

    Raises:
        UsageError: there is no run, or none that has ended, or it has no such problem.
        StorageError: its checkpoints are damaged, or of another version of mlograph.
    """
    directory = Path(run)
    if not (directory / "checkpoints").is_dir():
        inside = directory.iterdir() if directory.is_dir() else ()
        found = sorted((path for path in inside if _is_run(path)), key=_age, reverse=True)
        if not found:
            raise UsageError(
                f"run: there is no run in '{run}'; run the graph that it takes from first"
            )
    else:
        found = [directory]
    for path in found:
        state = Store(path / "checkpoints").load(lambda storage, _: storage.cpu())
        if state is None:
            continue
        with understood(state.state):
            if state.state["rest"]["ended"] is not None:
                return _tensors(state.state["problems"], problem, path)
    raise UsageError(f"run: '{found[0]}' has not ended; go on with: mlograph resume {found[0]}")


def _tensors(problems: Mapping[str, object], name: str, path: Path) -> dict[str, Tensor]:
    if name not in problems:
        raise UsageError(f"problem: no '{name}' in {path} ({did_you_mean(name, problems)})")
    # As mlograph.checkpoints packs a ProblemState.
    packed = problems[name]
    assert isinstance(packed, tuple) and isinstance(packed[-1]["tensors"], dict)
    return {key: torch.as_tensor(x) for key, x in packed[-1]["tensors"].items()}


def _is_run(path: Path) -> bool:
    return (path / "checkpoints").is_dir()


def _age(path: Path) -> list[int]:
    """Names of runs tell the time, and a number where two began in the same second."""
    return [int(digits) for digits in re.findall(r"\d+", path.name)]
