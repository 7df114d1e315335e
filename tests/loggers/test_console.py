"""Sinks that people watch."""

import io
import os
import re

import pytest
from rich.console import Console

from mlograph.errors import StorageError
from mlograph.loggers.bar import Bar
from mlograph.loggers.console import console
from mlograph.loggers.lines import Lines, duration
from mlograph.loggers.protocol import Logger, Record

HOSTILE = "[red]x[/red] \x1b]0;title\x07\u202e"


def tell(logger: Logger) -> None:
    logger.start(2)
    logger.log(Record("baseline", 0, 0.0, {"accuracy": 0.123456}, text="nothing"))
    logger.progress(1)
    logger.log(Record("train", 1, 0.1, {f"outer.{HOSTILE}": 0.25, "outer.loss": 9.0}))
    logger.log(Record("validation", 1, 0.2, {"accuracy": 0.5}))
    logger.log(Record("event", 1, 0.2, text=HOSTILE))
    logger.progress(2)
    logger.log(Record("train", 2, 0.3, {"outer.loss": 0.75}))
    logger.close()


def test_lines_tell_everything_but_training():
    stream = io.StringIO()
    tell(Lines(stream))
    lines = stream.getvalue().splitlines()
    assert lines[:2] == [
        "step 0  baseline  nothing  accuracy 0.1235",
        "step 1  validation  accuracy 0.5",
    ]
    assert lines[2] == r"step 1  event  [red]x[/red] \x1b]0;title\x07\u202e"
    assert lines[3].startswith("2 of 2 updates in 0.0 s  outer.[red]x[/red]")
    assert lines[3].endswith("outer.loss 0.75")
    assert len(lines) == 4


def test_lines_say_how_far_a_run_came_that_did_not_finish(capsys: pytest.CaptureFixture[str]):
    lines = Lines()
    lines.start(100)
    lines.progress(40)
    lines.close()
    assert capsys.readouterr().out.startswith("40 of 100 updates in ")


def test_a_log_on_a_full_disk_is_told_as_such():
    with open("/dev/full", "w") as stream, pytest.raises(StorageError, match="No space left"):
        try:
            tell(Lines(stream))
        finally:
            # What waits in the buffer cannot be written either.
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def test_bar_shows_the_latest_losses_and_keeps_the_lines_above_it():
    stream = io.StringIO()
    tell(Bar(Console(file=stream, force_terminal=True, width=100, color_system=None)))
    shown = stream.getvalue()
    assert "step 1  validation  accuracy 0.5" in shown
    assert "2 of 2 updates in " in shown
    assert "outer.loss 0.75" in shown


@pytest.mark.parametrize("width", [30, 50, 80, 200])
def test_bar_parts_no_number_from_its_name(width: int):
    stream = io.StringIO()
    bar = Bar(Console(file=stream, force_terminal=True, width=width, color_system=None))
    bar.start(1)
    bar.log(Record("validation", 1, 0.0, {"a.loss": 0.5, "a.gradient_norm": 0.25, "a.lr": 0.125}))
    bar.log(Record("train", 1, 0.0, {f"problem{i}.loss": i + 0.5 for i in range(9)}))
    bar.close()
    shown = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", stream.getvalue())
    lines = [line.strip() for line in shown.splitlines()]
    for name, value in [(f"problem{i}.loss", i + 0.5) for i in range(9)] + [("a.lr", 0.125)]:
        assert any(f"{name} {value}" in line for line in lines)
    assert all(len(line) <= width for line in lines if "loss" in line)


def test_bar_neither_obeys_nor_interprets_what_it_shows():
    stream = io.StringIO()
    tell(Bar(Console(file=stream, force_terminal=True, width=100, color_system=None)))
    shown = stream.getvalue()
    assert r"event  [red]x[/red] \x1b]0;title\x07\u202e" in shown
    assert "\x1b]0;" not in shown
    assert "\x07" not in shown
    assert "\u202e" not in shown


def test_a_bar_that_never_started_can_be_closed():
    Bar(Console(file=io.StringIO(), force_terminal=True)).close()


def test_a_console_that_is_no_terminal_gets_lines(capsys: pytest.CaptureFixture[str]):
    logger = console()
    assert isinstance(logger, Lines)
    tell(logger)
    assert "\x1b" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.97, "1 min 00 s"),
        (65.4, "1 min 05 s"),
        (3599.6, "1 h 00 min"),
        (7380, "2 h 03 min"),
    ],
)
def test_durations_are_written_as_people_say_them(seconds: float, text: str):
    assert duration(seconds) == text
