"""The folder of a sweep: what was asked for, its runs, and what they came to.

`OUTPUT/NAME/sweep-TIME/` holds

- `sweep.yaml`: the command, the axes and the runs,
- `runs/VALUES/`: a run directory, as `mlograph run` makes it,
- `runs/VALUES.json`: how the run ended, once it has,
- `runs/VALUES.log`: what it printed,
- `table.md`, `table.csv`, `report.html`: what the runs came to.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import os
import re
import shlex
import shutil
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import yaml

from mlograph.campaign.axes import Axes
from mlograph.campaign.outcome import Outcome, read_outcome
from mlograph.campaign.settings import Run
from mlograph.errors import StorageError, UsageError
from mlograph.language.emit import emit
from mlograph.locking import alone
from mlograph.rundir import write_whole

REQUEST = "sweep.yaml"


@dataclass(frozen=True)
class Request:
    """What a sweep was asked for.

    Attributes:
        graph: the graph file.
        words: overrides and axes.
        allow: packages that components may come from.
        draws: settings to draw at random; None for all.
        draw_seed: of the draws, and of Optuna's sampler.
        trials: settings that Optuna chooses; None without it.
        metric: a number that runs report, by which settings are compared; may be empty.
        direction: which way the metric is better.
    """

    graph: str
    words: tuple[str, ...] = ()
    allow: tuple[str, ...] = ()
    draws: int | None = None
    draw_seed: int = 0
    trials: int | None = None
    metric: str = ""
    direction: Literal["min", "max"] = "max"

    @property
    def command(self) -> str:
        """That asks for the same."""
        words = ["mlograph", "sweep", self.graph, *self.words]
        words += ["--random", str(self.draws)] if self.draws is not None else []
        words += ["--optuna", str(self.trials)] if self.trials is not None else []
        words += ["--random-seed", str(self.draw_seed)] if self.draw_seed else []
        words += ["--metric", self.metric] if self.metric else []
        words += ["--direction", self.direction] if self.direction != "max" else []
        words += [word for package in self.allow for word in ("--allow", package)]
        return shlex.join(words)


@dataclass(frozen=True)
class Folder:
    """The folder of one sweep.

    Attributes:
        path: it exists.
    """

    path: Path

    @property
    def runs(self) -> Path:
        """Where the runs are."""
        return self.path / "runs"

    @property
    def command(self) -> str:
        """That goes on with the sweep."""
        return shlex.join(["mlograph", "sweep", "--resume", str(self.path)])

    def run(self, run: Run) -> Path:
        """The directory of a run."""
        return self.runs / run.name

    def outcome_file(self, run: Run) -> Path:
        """What tells how a run ended."""
        return self.runs / f"{run.name}.json"

    def log(self, run: Run) -> Path:
        """What a run prints."""
        return self.runs / f"{run.name}.log"

    def outcome(self, run: Run) -> Outcome | None:
        """How a run ended; None if it has not."""
        return read_outcome(self.outcome_file(run))

    def forget(self, run: Run) -> None:
        """Removes all that a run has left.

        Raises:
            BusyError: somebody goes on with it.
        """
        if self.run(run).is_dir():
            with alone(self.run(run), "run"):
                shutil.rmtree(self.run(run), ignore_errors=True)
        for file in (self.outcome_file(run), self.log(run)):
            file.unlink(missing_ok=True)

    def held(self) -> AbstractContextManager[int | None]:
        """Nobody else works on this sweep meanwhile; the descriptor is for the sweep's processes.

        Raises:
            BusyError: somebody does already.
        """
        return alone(self.path, "sweep")


def identity(graphs: Sequence[str], request: Request) -> str:
    """What two sweeps must share to be the same: the graphs of their runs, and the code beside.

    Args:
        graphs: of the runs, as YAML without references.
        request: says where the code is.
    """
    folder = Path(request.graph).resolve().parent
    found = hashlib.sha256()
    for text in sorted(graphs):
        found.update(text.encode() + b"\0")
    for file in _code(folder, "".join(graphs)):
        found.update(str(file.relative_to(folder)).encode() + b"\0" + file.read_bytes() + b"\0")
    return found.hexdigest()


def _code(folder: Path, text: str) -> list[Path]:
    """The Python files beside a graph that it names, and those of packages that it names."""
    named = set(re.findall(r"\b([A-Za-z_]\w*)\.", text))
    files = [path for path in folder.glob("*.py") if path.stem in named]
    for package in folder.glob("*/__init__.py"):
        if package.parent.name in named:
            files += package.parent.rglob("*.py")
    return sorted(files)


def create(output: Path, name: str) -> Folder:
    """A new folder `output/name/sweep-TIME`.

    Raises:
        StorageError: it cannot be made.
    """
    time = datetime.now().strftime("%Y-%m-%dT%H-%M-%S")
    for number in itertools.count(1):
        path = output / name / (f"sweep-{time}" if number == 1 else f"sweep-{time}-{number}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.mkdir()
            (path / "runs").mkdir()
        except FileExistsError as error:
            if not path.is_dir():
                raise StorageError(f"{path}: cannot be made: {error.strerror}") from error
        except OSError as error:
            raise StorageError(f"{path}: cannot be made: {error.strerror or error}") from error
        else:
            return Folder(path)
    raise AssertionError("numbers do not run out")


def earlier(output: Path, name: str, identified: str) -> Folder | None:
    """The newest folder of a sweep that is the same, if there is one."""
    files = (output / name).glob(f"sweep-*/{REQUEST}")
    for file in sorted(files, key=lambda file: file.parent.name, reverse=True):
        with contextlib.suppress(StorageError):
            if _read(file).get("identity") == identified:
                return Folder(file.parent)
    return None


def write_request(
    folder: Folder, request: Request, identified: str, axes: Axes, runs: Sequence[Run]
) -> None:
    """Notes what the sweep is.

    Raises:
        StorageError: it cannot be written.
    """
    data: dict[str, Any] = {
        "command": request.command,
        "graph": str(Path(request.graph).resolve()),
        "changes": list(request.words),
        "allow": list(request.allow),
        "random": request.draws,
        "random_seed": request.draw_seed,
        "optuna": request.trials,
        "metric": request.metric,
        "direction": request.direction,
        "identity": identified,
        "axes": {
            axis.path: [choice.text.strip() for choice in axis.choices]
            or axes.words[axis.number - 1][len(axis.key) + 1 :]
            for axis in axes.axes
        },
        "runs": {run.name: run.values for run in runs},
    }
    write_whole(folder.path / REQUEST, emit(data))


def read_request(path: Path, allow: Sequence[str]) -> tuple[Request, str]:
    """What the sweep in a folder was asked for, and its identity.

    Raises:
        StorageError: it cannot be read.
        UsageError: this is no folder of a sweep, or it was given packages that `allow` lacks.
    """
    if not (path / REQUEST).is_file():
        raise UsageError(f"{path}: is no folder of a sweep: there is no {REQUEST} in it")
    data = _read(path / REQUEST)
    try:
        request = Request(
            graph=os.path.relpath(str(data["graph"])),
            words=tuple(map(str, data["changes"])),
            allow=tuple(map(str, data["allow"])),
            draws=data["random"],
            draw_seed=int(data["random_seed"]),
            trials=data["optuna"],
            metric=str(data["metric"]),
            direction="min" if data["direction"] == "min" else "max",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise StorageError(f"{path / REQUEST}: is not what a sweep wrote: {error}") from error
    missing = [package for package in request.allow if package not in allow]
    if missing:
        raise UsageError(
            f"{path}: the sweep was made with --allow {' --allow '.join(missing)}; "
            "give that again if you trust it"
        )
    return request, str(data.get("identity", ""))


def _read(file: Path) -> Mapping[str, Any]:
    try:
        data = yaml.safe_load(file.read_text("utf-8"))
    except OSError as error:
        raise StorageError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, yaml.YAMLError) as error:
        raise StorageError(f"{file}: is not what a sweep wrote: {error}") from error
    if not isinstance(data, dict):
        raise StorageError(f"{file}: is not what a sweep wrote")
    return data
