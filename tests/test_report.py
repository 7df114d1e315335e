"""The page about a run: what it shows, and that nothing in it can act."""

import base64
import re
from html.parser import HTMLParser
from typing import Any

from mlograph.loggers.protocol import Record
from mlograph.report import Report, page

HOSTILE = "<script>alert(1)</script>\"'&"


def report(*records: Record, **changes: Any) -> Report:
    fields = {
        "name": "imaml",
        "description": "",
        "command": "mlograph run imaml.yaml",
        "diagram": b'<?xml version="1.0"?><!DOCTYPE svg><svg id="drawn"></svg>',
        "plan": "5 × Step(inner)",
        "problems": ("outer", "inner"),
        "environment": "torch  2",
        "ended": "all steps made",
        "finished": True,
        "steps": 7500,
        "total": 7500,
        "seconds": 65.0,
        "records": records,
    }
    return Report(**(fields | changes))


class Page(HTMLParser):
    """The tags of a page, checked to be balanced."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append(tag)
        if tag not in {"meta", "img"}:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.tags.append(tag)

    def handle_endtag(self, tag: str):
        assert self.open.pop() == tag


def train(count: int) -> list[Record]:
    return [
        Record("train", i, 0.1 * i, {"outer.loss": 1 / i, "inner.loss": float(i), "inner.lr": 0.1})
        for i in range(1, count + 1)
    ]


def test_the_page_shows_everything_about_a_run():
    text = page(
        report(
            *train(20),
            Record("baseline", 0, 0.0, {"accuracy": 0.2}, text="no adaptation"),
            Record("validation", 10, 1.0, {"accuracy": 0.5, "loss": 1.0}),
            Record("validation", 20, 2.0, {"accuracy": 0.75, "loss": 0.5}),
            Record("event", 15, 1.5, text="CG stopped early"),
        )
    )
    Page(text)
    for shown in (
        "<h1>imaml</h1>",
        "all steps made",
        "7,500 of 7,500 updates · 1 min 05 s",
        "mlograph run imaml.yaml",
        "this run, step 20",
        "no adaptation",
        "CG stopped early",
        "5 × Step(inner)",
        "torch  2",
        'Constant: <span title="learning rate">lr 0.1</span>',
    ):
        assert shown in text
    (image,) = re.findall('src="data:image/svg.xml;base64,([^"]*)" alt="Diagram', text)
    assert '<svg id="drawn"><style>' in base64.b64decode(image).decode()
    # Two losses and two validation curves; the constant learning rate is not drawn.
    assert text.count('class="chart"') == 4
    titles = re.findall("<h2>(.*)</h2>", text)
    assert titles == [
        "Result", "Validation", "Graph", "outer", "inner", "Events", "Plan", "Environment",
    ]  # fmt: skip


def test_the_last_validation_stands_beside_the_baselines():
    text = page(
        report(
            Record("baseline", 0, 0.0, {"accuracy": 0.1}, text="pixels"),
            Record("validation", 5, 0.0, {"accuracy": 0.3, "loss": 2.0}),
            Record("validation", 9, 0.0, {"accuracy": 0.9, "loss": 1.0}),
        )
    )
    table = text[text.index("<table>") : text.index("</table>")]
    rows = [re.findall("<t[hd]>([^<]*)</t[hd]>", row) for row in table.split("<tr")]
    assert rows[1:] == [
        ["", "accuracy", "loss"],
        ["this run, step 9", "0.9", "1"],
        ["pixels", "0.1", "–"],
    ]


def test_what_was_never_measured_has_no_section():
    text = page(report(diagram=b""))
    assert re.findall("<h2>(.*)</h2>", text) == ["Plan", "Environment"]


def test_nothing_from_a_graph_or_a_run_is_taken_for_html():
    text = page(
        report(
            Record("train", 1, 0.0, {f"outer.{HOSTILE}": 1.0, HOSTILE: 2.0}),
            Record("train", 2, 0.0, {f"outer.{HOSTILE}": 1.5, HOSTILE: 3.0}),
            Record("validation", 1, 0.0, {HOSTILE: 1.0}),
            Record("validation", 2, 0.0, {HOSTILE: 2.0}),
            Record("baseline", 0, 0.0, {HOSTILE: 1.0}, text=HOSTILE),
            Record("event", 1, 0.0, text=HOSTILE),
            **dict.fromkeys(("name", "description", "command", "plan", "environment"), HOSTILE),
            ended=HOSTILE,
        )
    )
    assert "script" not in Page(text).tags
    assert "<script" not in text


def test_the_page_reaches_for_nothing_outside():
    text = page(report(*train(3)))
    assert "default-src 'none'" in text
    assert not re.search(r"https?:|src=(?!\"data:)|@import|url\(", text)


def test_many_events_are_cut_off():
    events = [Record("event", i, 0.0, text=f"event {i}.") for i in range(1000)]
    text = page(report(*events))
    assert "event 199." in text
    assert "event 200." not in text
    assert "and 800 more" in text


def test_a_long_run_makes_a_page_of_bounded_size():
    assert len(page(report(*train(20_000)))) < 120_000


def test_what_a_browser_or_a_terminal_would_obey_is_written_out():
    values = {"a\x1b[31m\u202e.loss": 1.0}
    text = page(report(Record("train", 1, 0.1, values), name="\x07", ended="\u202ednim"))
    assert "\\x1b[31m\\u202e" in text
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_name_of_any_length_leaves_room_for_the_rest():
    name = "x" * 3000
    told = Record("validation", 1, 0.0, {name: 1.0})
    text = page(report(Record("train", 1, 0.0, {f"outer.{name}": 1.0}), told))
    assert max(map(len, re.findall("x+", text))) < 100
