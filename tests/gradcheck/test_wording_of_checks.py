"""Reports as text, as JSON, and as a table."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from math import nan

from rich.console import Console

from mlograph.gradcheck import AS_RUN, SOLVED, Report, UpperReport, as_json, as_text, show
from mlograph.gradcheck.report import Reference, Row, Solve

OWN = Row(
    "cg (iterations 5)",
    "cg",
    configured=True,
    errors={SOLVED: 0.2, AS_RUN: 0.5},
    at_rest=3e-7,
    cosine=0.98765,
    ratio=1.25,
    seconds=0.0123,
    megabytes=1.5,
    solves=(Solve("a", "converged", 5, 1e-9), Solve("b", "max iterations", 5, 0.02)),
)
UNROLL = Row("unroll", "unroll", errors={AS_RUN: 1e-9}, cosine=1.0, ratio=1.0, seconds=0.1)
UPPER = UpperReport(
    upper="outer",
    size=1200,
    through=(("a", 10), ("b", 20)),
    claimed=SOLVED,
    judged_by=SOLVED,
    references=(
        Reference(SOLVED, (1.0,), 1e-6, asked=2),
        Reference(AS_RUN, trouble="not asked for"),
    ),
    rows=(
        OWN,
        replace(UNROLL, megabytes=0.5),
        Row("exact", "exact", failure="'exact' is too large"),
        Row("gmres (iterations 3)", "gmres", failure="'gmres' is too large"),
    ),
    best="unroll",
    notes=("a note",),
    advice=("do this",),
    passed=False,
)
REPORT = Report("graph", "the start", "float64", 0.01, (UPPER,))

TEXT = """\
graph: hypergradient of outer (1,200 parameters) through a (10), b (20), from the start, float64

method               vs solved  vs as run  at rest  cosine  length  seconds    memory  \
linear systems
* cg (iterations 5)    2.0e-01    5.0e-01   <1e-06  0.9877    1.25    0.012    1.5 MB  \
a: converged (1e-09); b: max iterations (2e-02)
  unroll                     -    1.0e-09        -  1.0000       1      0.1  512.0 kB

columns     method:         *: what the graph asks for
            vs solved:      relative error against finite differences of the loss, all solved
            vs as run:      relative error against those of the loss, the inner loops run again
            at rest:        relative error where all is solved, against the same as 'vs solved'
            cosine:         with the hypergradient of unroll
            length:         in units of the length of that
            seconds:        for an inner loop and its hypergradient
            memory:         that is kept for derivatives, at the most
            linear systems: how they ended, and their relative residuals
references  solved: known to 1e-06, along 1 of 2 directions, for want of time (--budget gives more)
            as run: none, not asked for
left out    exact, gmres: each is too large
note        a note
advice      do this
verdict     FAILED here: cg (iterations 5) is right where everything is solved (<1e-06), but the
              loops end short of that, where it differs from 'solved' by 2.0e-01, at most 0.01
"""


def test_the_text_has_every_number():
    assert as_text(REPORT) == TEXT


def verdict(upper: UpperReport) -> str:
    lines = as_text(replace(REPORT, uppers=(upper,))).splitlines()
    place = next(n for n, line in enumerate(lines) if line.startswith("verdict"))
    return " ".join(line.strip() for line in lines[place:]).removeprefix("verdict").strip()


def test_verdicts():
    good = replace(UPPER, rows=(replace(OWN, errors={SOLVED: 1e-3}),), passed=True)
    assert verdict(good) == "passed: cg (iterations 5) agrees with 'solved' (1.0e-03, at most 0.01)"
    unknown = replace(UPPER, rows=(replace(OWN, errors={}),))
    assert verdict(unknown) == "undecided: there is nothing to compare cg (iterations 5) with"
    wrong = replace(UPPER, rows=(replace(OWN, at_rest=0.1),))
    assert verdict(wrong) == (
        "FAILED: cg (iterations 5) differs from 'solved' by 2.0e-01, at most 0.01"
    )
    other = replace(UPPER, judged_by=AS_RUN)
    assert verdict(other) == (
        "undecided: cg (iterations 5) is about 'solved', which could not be had; it differs from "
        "'as run' by 5.0e-01, at most 0.01"
    )
    failed = replace(UPPER, rows=(replace(OWN, failure="it broke"),))
    assert verdict(failed) == "FAILED: cg (iterations 5) gives nothing: it broke"


def test_columns_that_say_nothing_are_left_out():
    rows = tuple(
        replace(row, errors={SOLVED: 0.1}, at_rest=nan, solves=()) for row in (OWN, UNROLL)
    )
    header = as_text(replace(REPORT, uppers=(replace(UPPER, rows=rows),))).splitlines()[2]
    assert header.split() == ["method", "vs", "solved", "cosine", "length", "seconds", "memory"]


def test_a_method_that_just_stops_tells_no_residual():
    rows = (replace(OWN, solves=(Solve("a", "max iterations", 0, nan),)),)
    text = as_text(replace(REPORT, uppers=(replace(UPPER, rows=rows),)))
    assert "linear systems" not in text
    rows = (replace(OWN, solves=(Solve("a", "singular", 0, nan),)),)
    assert "singular" in as_text(replace(REPORT, uppers=(replace(UPPER, rows=rows),)))


def test_what_terminals_would_obey_is_written_out():
    bad = replace(UPPER, rows=(replace(OWN, failure="\x1b[31mred"),))
    assert "\x1b" not in as_text(replace(REPORT, uppers=(bad,)))


def test_programs_get_numbers_and_null():
    read = json.loads(as_json(REPORT))
    assert read["passed"] is False
    (upper,) = read["uppers"]
    assert upper["rows"][0]["errors"] == {"solved": 0.2, "as run": 0.5}
    assert upper["rows"][1]["at_rest"] is None
    assert "NaN" not in as_json(replace(REPORT, tol=nan))


def test_a_terminal_gets_a_table():
    stream = io.StringIO()
    show(REPORT, Console(file=stream, force_terminal=True, width=160, color_system=None))
    shown = stream.getvalue()
    assert "┃ method" in shown
    assert "* cg (iterations 5)" in shown
    for line in TEXT.splitlines()[6:]:
        assert line in shown
