"""What a terminal shows while a sweep goes on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from mlograph.campaign.outcome import Outcome
from mlograph.campaign.pool import Going
from mlograph.campaign.settings import Run
from mlograph.loggers.lines import duration, summary
from mlograph.terminal import printable_line

_LATEST = 5
_MOST_NUMBERS = 4


@final
class Silent:
    """Shows nothing."""

    def ended(self, run: Run, outcome: Outcome, *, kept: bool) -> None:
        """Nothing."""

    def going(self, runs: Sequence[Going]) -> None:
        """Nothing."""


@final
class Progress:
    """Counts the runs that have ended, and tells each in a line.

    Args:
        total: runs.
    """

    def __init__(self, total: int) -> None:
        self.done = 0
        self.bad = 0
        self._total = total
        self._began = time.monotonic()
        self._made = 0

    def line(self, run: Run, outcome: Outcome, *, kept: bool) -> str:
        """The run has ended: a line about it."""
        self.done += 1
        self.bad += not outcome.finished
        self._made += not kept
        count = f"[{self.done}/{self._total}] {printable_line(run.name)}: {outcome.status}"
        if kept:
            return f"{count} before"
        if not outcome.finished:
            why = printable_line(next(iter(outcome.ended.splitlines()), ""))
            return f"{count}: {why}"
        numbers = dict(list(outcome.metrics.items())[:_MOST_NUMBERS])
        return f"{count} in {duration(outcome.seconds)}  {summary(numbers)}".rstrip()

    def status(self, going: int) -> str:
        """How far everything is."""
        parts = [f"{self.done} of {self._total} runs", f"{going} going on"]
        parts += [f"{self.bad} not finished"] if self.bad else []
        parts.append(duration(time.monotonic() - self._began))
        left = self._total - self.done
        if self._made and left > 0:
            each = (time.monotonic() - self._began) / self._made
            parts.append(f"about {duration(max(1, round(each * left)))} left")
        return " · ".join(parts)


@final
class Lines:
    """Prints a line for every run that ends.

    Args:
        console: where to.
        progress: counts them.
    """

    def __init__(self, console: Console, progress: Progress) -> None:
        self._console = console
        self._progress = progress

    def ended(self, run: Run, outcome: Outcome, *, kept: bool) -> None:
        """One line."""
        text = self._progress.line(run, outcome, kept=kept)
        self._console.print(Text(text), soft_wrap=True)

    def going(self, runs: Sequence[Going]) -> None:
        """Nothing."""


@final
class Board:
    """A table of the runs that go on, below a line for each of those that have ended.

    Args:
        live: what shows it.
        progress: counts the runs.
    """

    def __init__(self, live: Live, progress: Progress) -> None:
        self._live = live
        self._progress = progress

    def ended(self, run: Run, outcome: Outcome, *, kept: bool) -> None:
        """A line above the table."""
        text = self._progress.line(run, outcome, kept=kept)
        self._live.console.print(Text(text, style="" if outcome.finished else "red"))

    def going(self, runs: Sequence[Going]) -> None:
        """The table anew."""
        table = Table(box=None, pad_edge=False, show_header=False)
        # What would not fit on the terminal is counted, not shown.
        most = max(1, self._live.console.height - _LATEST)
        for each in runs[:most]:
            total = each.run.steps
            done = f"{each.step}/{total}" if total else str(each.step)
            table.add_row(
                Text(printable_line(each.run.name), overflow="ellipsis", no_wrap=True),
                Text(_bar(each.step, total), style="cyan"),
                Text(done),
                Text(duration(each.seconds)),
            )
        if len(runs) > most:
            table.add_row(Text(f"… and {len(runs) - most} more"))
        self._live.update(Group(table, Text(self._progress.status(len(runs)), style="bold")))


def _bar(step: int, total: int, width: int = 20) -> str:
    filled = width * step // total if total else 0
    return "━" * filled + "·" * (width - filled)
