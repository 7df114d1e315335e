"""What a run tells on a terminal: a progress bar with the latest losses below it."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from mlograph.loggers.lines import duration, line, progress, short, summary
from mlograph.loggers.pace import Pace
from mlograph.loggers.protocol import Record
from mlograph.terminal import printable, printable_line

_SECONDS_BETWEEN_UPDATES = 0.1
_GAP = "  "


class Bar:
    """A progress bar with rate and time left, the latest losses and metrics below it.

    Validations, baselines and events are printed above it as they come, and so is whatever the
    user's code prints. Names and messages are never read as markup. Colours are left out where
    NO_COLOR is set.

    Args:
        console: the terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TaskProgressColumn(),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[pace]}", markup=False),
            console=console,
        )
        self._live: Live | None = None
        self._task = self._progress.add_task("", total=None, pace="")
        self._pace = Pace(0)
        self._step = 0
        self._began = 0.0
        self._shown_at = 0.0
        self._last: Mapping[str, float] = {}

    def start(self, total: int) -> None:
        """Shows the empty bar."""
        self._pace = Pace(total)
        self._began = time.monotonic()
        self._progress.reset(self._task, total=total, pace="")
        self._live = Live(
            get_renderable=self._picture,
            console=self._console,
            refresh_per_second=8,
            transient=True,
        )
        self._live.start()

    def recall(self, records: Sequence[Record], step: int) -> None:
        """Goes on from `step`, with the losses of then."""
        self._step = step
        self._pace.begin_at(step)
        self._progress.update(self._task, completed=step)
        for record in records:
            if record.kind == "train":
                self._last = {**self._last, **record.values}

    def progress(self, step: int) -> None:
        """Moves the bar, a few times a second at most."""
        self._step = step
        now = time.monotonic()
        if now - self._shown_at >= _SECONDS_BETWEEN_UPDATES:
            self._shown_at = now
            self._pace.note(step)
            self._progress.update(self._task, completed=step, pace=progress(self._pace))

    def log(self, record: Record) -> None:
        """Changes the losses below the bar, or prints a line above it."""
        if record.kind == "train":
            self._last = {**self._last, **record.values}
        else:
            told = [Text(part) for part in line(record).split(_GAP)]
            self._console.print(_filled(told, self._console.width), style=_style(record))

    def say(self, text: str) -> None:
        """Prints lines above the bar."""
        self._console.print(Text(printable(text), style="dim"), soft_wrap=True)

    def close(self) -> None:
        """Takes the bar away and says how far the run came."""
        if self._live is not None:
            self._live.stop()
        took = duration(time.monotonic() - self._began)
        text = f"{self._step} of {self._pace.total} updates in {took}"
        self._console.print(Text(text, style="bold"))
        if self._last:
            told = [Text(summary({name: value})) for name, value in self._last.items()]
            self._console.print(_filled(told, self._console.width), style="dim")

    def _picture(self) -> Group:
        values = [
            Text.assemble((printable_line(name) + " ", "dim"), short(value))
            for name, value in self._last.items()
        ]
        return Group(self._progress, _filled(values, self._console.width))


def _filled(parts: Iterable[Text], width: int) -> Text:
    """The parts in as few lines as they fit in, so that no number is parted from its name."""
    lines: list[Text] = []
    for part in parts:
        if lines and lines[-1].cell_len + len(_GAP) + part.cell_len <= width:
            lines[-1].append(_GAP).append_text(part)
        else:
            lines.append(part)
    return Text("\n").join(lines)


def _style(record: Record) -> str:
    return "yellow" if record.kind == "event" else ""
