"""Runs of graphs, and what they measured."""

from __future__ import annotations

import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import mlograph
import mlograph.run
import mlograph.session
from gallery.entry import Baseline, Entry, Stage
from mlograph.errors import MlographError
from mlograph.loggers.protocol import Record

ROOT = Path(__file__).parents[3]
OURS = "ours"

# The records of a run, and its seconds.
_Answer = tuple[tuple[Record, ...], float]


@dataclass(frozen=True)
class Outcome:
    """What one variant of an entry came to, with one seed.

    Attributes:
        value: the metric at the end.
        seconds: of CPU time, of all its stages; 0 where another run measured it.
        command: that repeats the last of them.
    """

    value: float
    seconds: float
    command: str


@dataclass(frozen=True)
class Measured:
    """One variant of an entry: `ours`, or a baseline.

    Attributes:
        outcomes: by seed.
    """

    outcomes: Mapping[int, Outcome]

    @property
    def mean(self) -> float:
        """Of the metric."""
        return statistics.fmean(one.value for one in self.outcomes.values())

    @property
    def deviation(self) -> float:
        """Sample standard deviation over the seeds; 0 of a single one."""
        values = [one.value for one in self.outcomes.values()]
        return statistics.stdev(values) if len(values) > 1 else 0.0

    @property
    def seconds(self) -> float:
        """Median over the seeds."""
        return statistics.median(one.seconds for one in self.outcomes.values())


class RunFailedError(Exception):
    """A run ended with an error; the text says which and why."""


def measured(entry: Entry, seed: int, quick: bool) -> dict[str, Outcome]:
    """What the entry and each of its baselines come to with this seed.

    Raises:
        RunFailedError: one of them failed, or did not measure what the entry names.
    """
    found: dict[str, Outcome] = {}
    ours = Stage(entry.graph, entry.overrides)
    records = _variant(OURS, entry, (*entry.before, ours), seed, quick, found)
    for baseline in entry.baselines:
        if baseline.measured:
            value = _value(records, entry.metric, "baseline", baseline.measured)
            found[baseline.name] = Outcome(value, 0.0, found[OURS].command)
        else:
            _variant(baseline.name, entry, _stages(entry, baseline), seed, quick, found)
    return found


def _stages(entry: Entry, baseline: Baseline) -> tuple[Stage, ...]:
    if baseline.graph:
        return (*baseline.before, Stage(baseline.graph, baseline.overrides))
    before = baseline.before or entry.before
    return (*before, Stage(entry.graph, (*entry.overrides, *baseline.overrides)))


def _variant(
    name: str,
    entry: Entry,
    stages: Sequence[Stage],
    seed: int,
    quick: bool,
    found: dict[str, Outcome],
) -> tuple[Record, ...]:
    """Runs the stages, notes what came of them, and gives the last one's records."""
    seconds = 0.0
    records: tuple[Record, ...] = ()
    command = ""
    with tempfile.TemporaryDirectory() as folder:
        for index, stage in enumerate(stages):
            last = index == len(stages) - 1
            # An entry's quick settings are those of its graph: other graphs only need to be short.
            own = entry.quick if stage.graph == entry.graph else ("engine.steps=2",)
            short = own if quick else ()
            overrides = [text.replace("{runs}", folder) for text in stage.overrides]
            overrides += [*short, f"engine.seed={seed}"]
            command = _command(stage.graph, overrides).replace(folder, "runs")
            records, spent = _run(stage.graph, overrides, None if last else Path(folder))
            seconds += spent
    value = _value(records, entry.metric, "validation")
    found[name] = Outcome(value, seconds, command)
    return records


def _run(graph: str, overrides: Sequence[str], folder: Path | None) -> _Answer:
    """Run a graph in a process of its own, which is forked from this one: imports take long.

    CPU time is what a run takes on a core of its own, whatever else the machine does.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_child, args=(graph, overrides, folder, sender))
    process.start()
    sender.close()
    try:
        answer = receiver.recv()
    except EOFError:
        answer = "the process ended without an answer"
    process.join()
    if isinstance(answer, str):
        raise RunFailedError(f"{_command(graph, overrides)}\n{answer}")
    found: _Answer = answer
    return found


def _child(graph: str, overrides: Sequence[str], folder: Path | None, sender: Connection) -> None:
    os.chdir(ROOT)
    try:
        records = mlograph.load(graph, overrides).run(folder, quiet=True).records
        sender.send((records, time.process_time()))
    except MlographError as error:
        sender.send(str(error))


def _command(graph: str, overrides: Sequence[str]) -> str:
    return " ".join(["mlograph run", graph, *map(_quoted, overrides)])


def _quoted(word: str) -> str:
    return f"'{word}'" if set(word) & set(" {[*") else word


def _value(records: Sequence[Record], metric: str, kind: str, text: str = "") -> float:
    fitting = [one for one in records if one.kind == kind and one.text == text]
    if not fitting or metric not in fitting[-1].values:
        which = f"{kind} '{text}'" if text else kind
        raise RunFailedError(f"no {which} measured '{metric}'")
    return float(fitting[-1].values[metric])
