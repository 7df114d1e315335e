"""What a run tells on a terminal: a progress bar with the latest losses below it."""

from __future__ import annotations

import time
from collections.abc import Mapping

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mlograph.loggers.lines import duration, line, short, summary
from mlograph.loggers.protocol import Record
from mlograph.terminal import printable_line

_SECONDS_BETWEEN_UPDATES = 0.1


class Bar:
    """A progress bar with rate and time left, the latest losses and metrics below it.

    Validations, baselines and events are printed above it as they come. Names and messages are
    never read as markup.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TaskProgressColumn(),
            BarColumn(bar_width=40),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
            console=console,
        )
        self._live: Live | None = None
        self._task = self._progress.add_task("", total=None, rate="")
        self._total = 0
        self._step = 0
        self._began = 0.0
        self._shown_at = 0.0
        self._last: Mapping[str, float] = {}

    def start(self, total: int) -> None:
        """Shows the empty bar."""
        self._total = total
        self._began = time.monotonic()
        self._progress.reset(self._task, total=total, rate="")
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=8,
            transient=True,
        )
        self._live.start()

    def progress(self, step: int) -> None:
        """Moves the bar, a few times a second at most."""
        self._step = step
        now = time.monotonic()
        if now - self._shown_at >= _SECONDS_BETWEEN_UPDATES:
            self._shown_at = now
            rate = step / max(now - self._began, 1e-9)
            self._progress.update(self._task, completed=step, rate=f"{short(rate)}/s")

    def log(self, record: Record) -> None:
        """Changes the losses below the bar, or prints a line above it."""
        if record.kind == "train":
            self._last = {**self._last, **record.values}
        else:
            self._console.print(Text(line(record), style=_style(record)))

    def close(self) -> None:
        """Takes the bar away and says how far the run came."""
        if self._live is not None:
            self._live.stop()
        took = duration(time.monotonic() - self._began)
        self._console.print(Text(f"{self._step} of {self._total} updates in {took}", style="bold"))
        if self._last:
            self._console.print(Text(summary(self._last), style="dim"))

    def _picture(self) -> Group:
        values = [
            Text.assemble((printable_line(name) + " ", "dim"), short(value))
            for name, value in self._last.items()
        ]
        return Group(self._progress, Text("   ").join(values))


def _style(record: Record) -> str:
    return "yellow" if record.kind == "event" else ""
