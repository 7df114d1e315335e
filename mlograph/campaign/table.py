"""What the runs of a sweep came to, as a table: by setting for people, by run for programs."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Literal

from mlograph.averages import deviation, mean, mean_and_deviation
from mlograph.campaign.axes import SEED, Axes
from mlograph.campaign.outcome import Outcome
from mlograph.campaign.settings import Run
from mlograph.loggers.lines import duration
from mlograph.loggers.row import cell, number
from mlograph.terminal import printable_line

Ended = tuple[Run, Outcome]


@dataclass(frozen=True)
class Row:
    """One setting.

    Attributes:
        values: of the axes but that of seeds, by path.
        ended: its runs that have ended, and how.
        asked: how many runs it has.
    """

    values: dict[str, str]
    ended: tuple[Ended, ...]
    asked: int

    @property
    def finished(self) -> tuple[Outcome, ...]:
        """The outcomes of the runs that came to their ends."""
        return tuple(outcome for _, outcome in self.ended if outcome.finished)

    def numbers(self, metric: str) -> list[float]:
        """A number of each of its finished runs that have it."""
        found = (outcome.value(metric) for outcome in self.finished)
        return [value for value in found if value is not None]

    def mean(self, metric: str) -> float | None:
        """Over its finished runs."""
        found = self.numbers(metric)
        return mean(found) if found else None

    def deviation(self, metric: str) -> float | None:
        """The sample standard deviation over its finished runs; None where there is none."""
        return deviation(self.numbers(metric))


@dataclass(frozen=True)
class Table:
    """The runs of a sweep.

    Attributes:
        title: of the sweep.
        command: of the sweep.
        axes: what was varied.
        runs: all that were asked for, those that have not ended as well.
        outcomes: of those that have, by name.
        metric: by which settings are ordered; empty for the order of the command.
        direction: which way the metric is better.
    """

    title: str
    command: str
    axes: Axes
    runs: tuple[Run, ...]
    outcomes: dict[str, Outcome]
    metric: str = ""
    direction: Literal["min", "max"] = "max"

    @property
    def rows(self) -> list[Row]:
        """The settings; the best first where there is a metric."""
        found: dict[int, list[Run]] = {}
        for run in self.runs:
            found.setdefault(run.setting, []).append(run)
        rows = [self._row(runs) for runs in found.values()]
        if self.metric:
            rows.sort(key=self._order)
        return rows

    @property
    def metrics(self) -> tuple[str, ...]:
        """The names of the numbers that are shown."""
        names = dict.fromkeys(n for o in self.outcomes.values() if o.finished for n in o.metrics)
        if self.metric and any(o.value(self.metric) is not None for o in self.outcomes.values()):
            names = {self.metric: None, **names}
            if self.metric.startswith("val."):
                names.pop(self.metric.removeprefix("val."), None)
        return tuple(names)

    @property
    def head(self) -> tuple[str, ...]:
        """The titles of the columns of `cells`."""
        labels = self.axes.labels()
        varied = [labels[axis.path] for axis in self.axes.varied]
        return (*varied, "runs" if self.axes.seeds else "", *self.metrics, "time")

    def cells(self, row: Row) -> tuple[str, ...]:
        """One setting as texts: mean ± standard deviation where there are several runs."""
        done = [outcome.seconds for outcome in row.finished]
        return (
            *row.values.values(),
            self._standing(row),
            *(mean_and_deviation(row.numbers(metric)) for metric in self.metrics),
            duration(mean(done)) if done else "–",
        )

    @property
    def unfinished(self) -> list[tuple[Run, str]]:
        """The runs that did not come to their ends, and why."""
        found = []
        for run in self.runs:
            outcome = self.outcomes.get(run.name)
            if outcome is None:
                found.append((run, "not run"))
            elif not outcome.finished:
                why = next(iter(outcome.ended.splitlines()), "")
                found.append((run, f"{outcome.status} (exit code {outcome.code}): {why}"))
        return found

    @property
    def summary(self) -> str:
        """How many runs ended how, and what the numbers are."""
        finished = sum(outcome.finished for outcome in self.outcomes.values())
        text = f"{finished} of {len(self.runs)} runs finished."
        if self.axes.seeds:
            seeds = ", ".join(choice.text.strip() for choice in self.axes.seeds.choices)
            text += f" Mean ± standard deviation over the seeds {seeds}."
        if self.metric:
            way = "largest" if self.direction == "max" else "least"
            text += f" The {way} {self.metric} comes first."
        return text

    def _row(self, runs: Sequence[Run]) -> Row:
        ended = [(run, self.outcomes[run.name]) for run in runs if run.name in self.outcomes]
        values = {path: text for path, text in runs[0].values.items() if path != SEED}
        return Row(values, tuple(ended), len(runs))

    def _order(self, row: Row) -> float:
        middle = row.mean(self.metric)
        if middle is None or math.isnan(middle):
            return math.inf
        return middle if self.direction == "min" else -middle

    def _standing(self, row: Row) -> str:
        if self.axes.seeds:
            return (
                str(row.asked)
                if len(row.finished) == row.asked
                else (f"{len(row.finished)} of {row.asked}")
            )
        return "" if row.finished else (row.ended[0][1].status if row.ended else "not run")


def as_markdown(table: Table) -> str:
    """The table of settings, and the runs that did not finish."""
    command = printable_line(table.command)
    lines = [f"# {_escaped(table.title)}", "", f"    {command}", "", _escaped(table.summary), ""]
    rows = [table.cells(row) for row in table.rows]
    shown = [i for i, title in enumerate(table.head) if title or any(row[i] for row in rows)]
    lines.append(_line(table.head[i] for i in shown))
    lines.append(_line("---" for _ in shown))
    lines += [_line(row[i] for i in shown) for row in rows]
    if table.unfinished:
        lines += ["", "Not finished:", ""]
        lines += [f"- `{run.name}`: {_escaped(why)}" for run, why in table.unfinished]
    return "\n".join(lines) + "\n"


def as_csv(table: Table) -> str:
    """A line for every run: the axes, how it ended, and all that it reported last."""
    ended = table.outcomes.values()
    validation = list(dict.fromkeys(name for each in ended for name in each.validation))
    train = list(dict.fromkeys(name for each in ended for name in each.train))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    paths = [axis.path for axis in table.axes.axes]
    head = ["run", *paths, "status", "exit_code", "steps", "seconds"]
    names = [*(f"validation.{name}" for name in validation), *train]
    writer.writerow(map(cell, [*head, *names]))
    for run in table.runs:
        outcome = table.outcomes.get(run.name)
        values = run.values
        row: list[object] = [cell(run.name), *(cell(values[path]) for path in paths)]
        if outcome is None:
            writer.writerow([*row, "not run"])
            continue
        row += [outcome.status, outcome.code, outcome.steps, round(outcome.seconds, 3)]
        row += [_cell(outcome.validation.get(name)) for name in validation]
        row += [_cell(outcome.train.get(name)) for name in train]
        writer.writerow(row)
    return stream.getvalue()


def _cell(value: float | None) -> object:
    return "" if value is None else number(value)


def _line(cells: Iterable[str]) -> str:
    return "| " + " | ".join(map(_escaped, cells)) + " |"


def _escaped(text: str) -> str:
    """`text` as Markdown shows it: no cell, link or HTML begins in it."""
    shown = escape(printable_line(text.replace("\n", " ")), quote=False)
    return re.sub(r"[|`\[\\]", r"\\\g<0>", shown)
