"""What a row of the table is: a graph, what to compare it with, and what is measured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Better = Literal["higher", "lower"]


@dataclass(frozen=True)
class Stage:
    """One run of a graph.

    Attributes:
        graph: a file, relative to the root of the repository.
        overrides: as for `mlograph run`; `{runs}` in one stands for the folder where the runs of
            the stages before it are, for `mlograph.data.learned`.
    """

    graph: str
    overrides: tuple[str, ...] = ()


@dataclass(frozen=True)
class Baseline:
    """What there is without the upper problem, or with a simple thing in its place.

    Attributes:
        name: what the table calls it.
        overrides: changes of the graph of the entry, or of `graph`.
        graph: another graph than the entry's.
        measured: the run of the entry itself measures it, as its validator's baseline of this name:
            nothing else is run then.
        before: stages that are run first.
    """

    name: str
    overrides: tuple[str, ...] = ()
    graph: str = ""
    measured: str = ""
    before: tuple[Stage, ...] = ()


@dataclass(frozen=True)
class Entry:
    """A row of the table.

    Attributes:
        name: of the row, such as the graph file's without `.yaml`.
        graph: the file, relative to the root of the repository.
        metric: a number of its last validation.
        baselines: what it is compared with.
        quick: overrides that end it in seconds; baselines on the same graph get them as well.
        overrides: of the graph, where the row is not of the graph as it is.
        before: stages that are run first, such as a search before what is found is trained.
        better: which way the metric is better.
        percent: the metric is a share, shown as a percentage.
        needs: what the machine must have beside the package, in words; the row is left out where
            it is not named with `--graph`.
    """

    name: str
    graph: str
    metric: str
    baselines: tuple[Baseline, ...]
    quick: tuple[str, ...] = ("engine.steps=2",)
    overrides: tuple[str, ...] = ()
    before: tuple[Stage, ...] = ()
    better: Better = "higher"
    percent: bool = True
    needs: str = ""
