"""How fast a run goes, and the lines that tell."""

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from mlograph.loggers.bar import Bar
from mlograph.loggers.lines import Lines, progress
from mlograph.loggers.pace import Pace
from mlograph.loggers.protocol import Record


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr("time.monotonic", clock)
    return clock


def paced(total: int, *steps: tuple[float, int]) -> Pace:
    clock = Clock()
    pace = Pace(total, clock)
    for now, step in steps:
        clock.now = now
        pace.note(step)
    return pace


@pytest.mark.parametrize(
    ("pace", "text"),
    [
        (paced(100), ""),
        (paced(100, (2.0, 5)), "2.5/s, 38.0 s left"),
        (paced(100, (40.0, 2)), "20.0 s each, 32 min 40 s left"),
        (paced(5, (2.0, 5)), "2.5/s"),
    ],
)
def test_a_pace_in_words(pace: Pace, text: str):
    assert progress(pace) == text


def test_a_pace_is_that_of_late():
    slow = [(10.0 * k, k) for k in range(1, 11)]
    quick = [(100.0 + 0.1 * k, 10 + k) for k in range(1, 400)]
    assert paced(1000, *slow, *quick).rate == pytest.approx(10.0)


def test_what_was_done_before_a_run_was_resumed_says_nothing_of_its_pace():
    clock = Clock()
    pace = Pace(1000, clock)
    pace.begin_at(500)
    clock.now = 10.0
    pace.note(510)
    assert (pace.rate, pace.left) == (1.0, 490.0)


def test_lines_tell_how_far_a_run_is_when_nothing_else_does(clock: Clock):
    stream = io.StringIO()
    lines = Lines(stream)
    lines.start(1000)
    for step in range(1, 101):
        clock.now = float(step)
        lines.progress(step)
        if step == 20:
            lines.log(Record("train", 20, 20.0, {"outer.loss": 0.25}))
        if step == 70:
            lines.log(Record("validation", 70, 70.0, {"accuracy": 0.5}))
    assert stream.getvalue().splitlines() == [
        "step 30 of 1000  1/s, 16 min 10 s left  outer.loss 0.25",
        "step 60 of 1000  1/s, 15 min 40 s left  outer.loss 0.25",
        "step 70  validation  accuracy 0.5",
        "step 100 of 1000  1/s, 15 min 00 s left  outer.loss 0.25",
    ]


def test_a_resumed_run_shows_the_losses_of_then(clock: Clock):
    stream = io.StringIO()
    lines = Lines(stream)
    lines.start(1000)
    lines.progress(500)
    lines.recall([Record("train", 500, 9.0, {"outer.loss": 0.5})], 500)
    clock.now = 30.0
    lines.progress(530)
    assert stream.getvalue() == "step 530 of 1000  1/s, 7 min 50 s left  outer.loss 0.5\n"


def test_a_bar_tells_pace_and_time_left(clock: Clock):
    stream = io.StringIO()
    bar = Bar(Console(file=stream, force_terminal=True, width=100, color_system=None))
    bar.start(1000)
    bar.recall([Record("train", 500, 9.0, {"outer.loss": 0.5})], 500)
    clock.now = 30.0
    bar.progress(530)
    bar.say("Step(inner)  1.2 ms")
    bar.close()
    shown = stream.getvalue()
    assert "530/1000" in shown
    assert "1/s, 7 min 50 s left" in shown
    assert "Step(inner)  1.2 ms" in shown


NOISY = """\
import sys
import warnings
from mlograph.loggers.console import console
from mlograph.loggers.protocol import Record

screen = console()
screen.start(3)
for step in (1, 2, 3):
    screen.progress(step)
    print(f"printed {step}")
    print(f"complained {step}", file=sys.stderr)
    screen.say(f"said {step}")
    screen.log(Record("event", step, 0.1, text=f"told {step}"))
screen.close()
"""


def on_a_terminal(program: str, **environment: str) -> str:
    """What a program shows on a terminal of its own."""
    main, end = pty.openpty()
    settings = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    settings |= {"TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40", **environment}
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        stdin=end,
        stdout=end,
        stderr=end,
        env=settings,
        cwd=Path(__file__).parents[2],
    )
    os.close(end)
    shown = b""
    try:
        while chunk := os.read(main, 65536):
            shown += chunk
    except OSError:
        pass  # Linux ends a terminal so.
    finally:
        os.close(main)
        child.wait(120)
    return shown.decode()


def screen_of(shown: str) -> list[str]:
    """The lines that stay, once a terminal has obeyed "erase line" and "cursor up"."""
    lines, row = [""], 0
    for token in _tokens(shown):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token == "\x1b[1A":
            row -= 1
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith(("\x1b", "\r")):
            lines[row] += token
    return [line.rstrip() for line in lines if line.strip()]


def _tokens(shown: str) -> list[str]:
    import re

    return re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", shown)


def test_nothing_that_is_printed_meanwhile_garbles_a_bar():
    lines = screen_of(on_a_terminal(NOISY))
    assert lines[:12] == [
        text
        for step in (1, 2, 3)
        for text in (
            f"printed {step}",
            f"complained {step}",
            f"said {step}",
            f"step {step}  event  told {step}",
        )
    ]
    assert lines[12].startswith("3 of 3 updates in ")
    assert len(lines) == 13


def test_colours_are_left_out_where_nobody_wants_them():
    colours = ("\x1b[3", "\x1b[9", "\x1b[38")
    assert any(code in on_a_terminal(NOISY) for code in colours)
    assert not any(code in on_a_terminal(NOISY, NO_COLOR="1") for code in colours)
