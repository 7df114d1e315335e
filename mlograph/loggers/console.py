"""Which sink shows a run to the person who started it."""

from __future__ import annotations

import sys
from typing import Protocol

from rich.console import Console

from mlograph.loggers.bar import Bar
from mlograph.loggers.lines import Lines
from mlograph.loggers.protocol import Logger


class Screen(Logger, Protocol):
    """A sink that people watch."""

    def say(self, text: str) -> None:
        """Shows lines of text between what is logged."""
        ...


def console() -> Screen:
    """A progress bar where standard output is a terminal, a few lines of plain text elsewhere."""
    terminal = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if terminal.is_terminal and not terminal.is_dumb_terminal:
        return Bar(terminal)
    return Lines()
