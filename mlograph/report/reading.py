"""A run directory, read for its report: whole, broken, or still being written."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from mlograph import pictures
from mlograph.errors import UsageError
from mlograph.loggers import jsonl
from mlograph.loggers.protocol import Record
from mlograph.loggers.row import record
from mlograph.report.content import Report, parsed
from mlograph.settings import flattened

T = TypeVar("T")

# The files by which a run directory is known, the newest first.
_MARKS = ("run.json", "metrics.jsonl", "resolved.yaml")
_SEED = "engine.seed"
_UNREADABLE = (
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    OverflowError,
    RecursionError,
)
# The greatest number of steps or seconds that is not nonsense.
_LAST = 1 << 53


@dataclass(frozen=True)
class Run:
    """What a run directory tells.

    Attributes:
        path: the directory.
        report: what its page shows.
        settings: of its graph, by dotted name; empty where the graph holds objects of Python.
    """

    path: Path
    report: Report
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def seed(self) -> str:
        """The seed of its random numbers."""
        return self.settings.get(_SEED, "0")

    @property
    def others(self) -> Mapping[str, str]:
        """All settings but the seed."""
        return {name: value for name, value in self.settings.items() if name != _SEED}


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run."""
    return any((path / mark).is_file() for mark in _MARKS)


def runs_in(path: Path) -> tuple[Path, ...]:
    """The folder itself if it is that of a run, else all runs in it, at most two levels down.

    Raises:
        UsageError: there is none.
    """
    if is_run(path):
        return (path,)
    found = (one for pattern in ("*", "*/*") for one in path.glob(pattern) if one.is_dir())
    runs = tuple(sorted(filter(is_run, found)))
    if not runs:
        what = "holds no run" if path.is_dir() else "there is no such folder"
        raise UsageError(f"{path}: {what}: expected OUTPUT/NAME/TIME as 'mlograph run' prints it")
    return runs


def read(path: Path) -> Run:
    """Everything that can be read of a run; what cannot is named in the report's remarks.

    Raises:
        UsageError: this is no directory of a run.
    """
    if not is_run(path):
        raise UsageError(f"{path}: is no directory of a run: it holds none of {', '.join(_MARKS)}")
    remarks: list[str] = []
    files = _Files(path, remarks)
    text = files.text("environment.txt")
    found = files.get("run.json", parsed, None) or _guessed(path, text)
    records = tuple(files.records())
    settings: dict[str, str] = files.get("resolved.yaml", flattened, {})
    report = replace(
        found,
        steps=max([found.steps, *(one.step for one in records)]),
        seconds=found.seconds or max((one.seconds for one in records), default=0.0),
        problems=found.problems or _problems(settings, records),
        diagram=files.text("graph.svg").encode(),
        plan=files.text("plan.txt"),
        environment="".join(
            line for line in text.splitlines(keepends=True) if not line.startswith("command ")
        ),
        records=records,
        learned=files.get("learned.json", pictures.parsed, (), optional=True),
        profile=files.get("profile.json", _mapping, {}, optional=True),
    )
    return Run(path, replace(report, remarks=tuple(remarks)), settings)


@dataclass(frozen=True)
class _Files:
    """The files of a run; what is wrong with them is noted."""

    path: Path
    remarks: list[str]

    def text(self, name: str, *, optional: bool = False) -> str:
        """A file's text; nothing where it cannot be read."""
        try:
            return (self.path / name).read_text("utf-8", "replace")
        except FileNotFoundError:
            if not optional:
                self.remarks.append(f"{name} is missing")
        except OSError as error:
            self.remarks.append(f"{name} cannot be read: {error.strerror or error}")
        return ""

    def get(self, name: str, read: Callable[[str], T], default: T, *, optional: bool = False) -> T:
        """What `read` makes of a file; `default` where it cannot."""
        text = self.text(name, optional=optional)
        try:
            return read(text) if text else default
        except (ValueError, RecursionError) as error:
            self.remarks.append(f"{name} {str(error) or 'is nested too deeply'}")
            return default

    def records(self) -> Iterator[Record]:
        """What was logged; a line that a killed run did not finish is left out."""
        broken = 0
        for line in jsonl.lines(self.text("metrics.jsonl")):
            try:
                yield _sound(record(json.loads(line)))
            except _UNREADABLE:
                broken += 1
        if broken:
            lines = "1 line" if broken == 1 else f"{broken} lines"
            self.remarks.append(f"metrics.jsonl: {lines} cannot be read")


def _sound(read: Record) -> Record:
    """The record itself, if its parts are what they should be.

    Raises:
        ValueError: they are not.
    """
    numbers = isinstance(read.step, int) and isinstance(read.seconds, int | float)
    if not numbers or abs(read.step) > _LAST or not 0 <= read.seconds < _LAST:
        raise ValueError("a step or a time is no number")
    if not isinstance(read.text, str):
        raise ValueError("the text is none")
    return read


def _guessed(path: Path, environment: str) -> Report:
    """What can be told of a run without its `run.json`."""
    first = environment.partition("\n")[0]
    command = first.removeprefix("command").strip() if first.startswith("command ") else ""
    return Report(path.resolve().parent.name, "", command, b"", "", (), "")


def _problems(settings: Mapping[str, str], records: tuple[Record, ...]) -> tuple[str, ...]:
    declared = (name.split(".")[1] for name in settings if name.startswith("problems."))
    measured = (name.split(".")[0] for one in records for name in one.values if "." in name)
    return tuple(dict.fromkeys(declared)) or tuple(dict.fromkeys(measured))


def _mapping(text: str) -> Mapping[str, Any]:
    found = json.loads(text)
    if not isinstance(found, dict):
        raise ValueError("holds something else than a profile")
    return found
