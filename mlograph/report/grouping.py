"""What tells runs apart: the settings that differ, and which of them differ in the seed only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import final

from mlograph.charts import DISTINCT
from mlograph.report.reading import Run

MOST_COLUMNS = 10
MOST_DIFFERENCES = 200
_LONGEST = 60
_MOST_METRICS = 24


@final
@dataclass(frozen=True)
class Grouping:
    """Runs, and what tells them apart.

    Attributes:
        runs: in the order in which they are shown.
    """

    runs: tuple[Run, ...]

    @cached_property
    def differing(self) -> dict[str, str]:
        """The settings, without the seed, in which runs of one graph differ, by short name."""
        graphs: dict[str, list[Run]] = {}
        for run in self.runs:
            if run.settings:
                graphs.setdefault(run.report.name, []).append(run)
        different = {
            name: None
            for runs in graphs.values()
            for name in dict.fromkeys(name for run in runs for name in run.others)
            if len({run.others.get(name) for run in runs}) > 1
        }
        return _shortened(list(different))

    @cached_property
    def groups(self) -> dict[str, list[int]]:
        """Indices of the runs that differ in the seed only, by what is said of them."""
        alike: dict[tuple[object, ...], list[int]] = {}
        for index, run in enumerate(self.runs):
            # Of a graph that was built in Python nobody can tell what it shares with others.
            own = (index,) if not run.settings else tuple(sorted(run.others.items()))
            alike.setdefault((run.report.name, *own), []).append(index)
        found: dict[str, list[int]] = {}
        for members in alike.values():
            label = self._label(self.runs[members[0]])
            if label in found:
                label = f"{label} ({self.runs[members[0]].path.name})"
            while label in found:
                label += "′"
            found[label] = members
        return found

    def _label(self, run: Run) -> str:
        several = len({one.report.name for one in self.runs}) > 1
        shown = list(self.differing.items())[:MOST_COLUMNS]
        settings = [f"{brief}={run.others[name]}" for brief, name in shown if name in run.others]
        words = " ".join([run.report.name, *settings] if several or not settings else settings)
        return cut(words)

    @cached_property
    def styles(self) -> dict[int, int]:
        """The colour and dash of each run; none for those beyond what can be told apart."""
        drawn = list(self.groups.values())[:DISTINCT]
        return {index: style for style, members in enumerate(drawn) for index in members}

    @cached_property
    def finals(self) -> list[dict[str, float]]:
        """The last validation of each run; where none has any, its last losses."""
        validations = [_last(run, "validation") for run in self.runs]
        if any(validations):
            return validations
        trained = [_last(run, "train") for run in self.runs]
        return [{n: v for n, v in one.items() if n.endswith("loss")} for one in trained]

    @cached_property
    def metrics(self) -> list[str]:
        """The names of the final numbers."""
        names = dict.fromkeys(name for values in self.finals for name in values)
        return list(names)[:_MOST_METRICS]


def cut(text: str, longest: int = _LONGEST) -> str:
    """A text that fits a cell."""
    return text if len(text) <= longest else f"{text[: longest - 1]}…"


def _last(run: Run, kind: str) -> dict[str, float]:
    """The values of the last record of a kind; of training, the last of every name."""
    found: dict[str, float] = {}
    for record in run.report.records:
        if record.kind == kind:
            if kind != "train":
                found.clear()
            found.update(record.values)
    return found


def _shortened(names: Sequence[str]) -> dict[str, str]:
    """Names by their shortest endings that tell them apart."""
    found: dict[str, str] = {}
    for name in names[:MOST_DIFFERENCES]:
        parts = name.split(".")
        endings = (".".join(parts[-count:]) for count in range(1, len(parts) + 1))
        brief = next(
            (e for e in endings if sum(n == e or n.endswith(f".{e}") for n in names) == 1), name
        )
        found[brief] = name
    return found | {name: name for name in names[MOST_DIFFERENCES:]}
