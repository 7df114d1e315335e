"""What the runs came to: means and deviations over seeds, order, and what did not finish."""

from __future__ import annotations

import csv
import math
import statistics
from pathlib import Path

import pytest

from mlograph.campaign.axes import read_axes
from mlograph.campaign.outcome import Outcome, gathered, read_outcome, write_outcome
from mlograph.campaign.settings import repeated, settings
from mlograph.campaign.table import Table, as_csv, as_markdown
from mlograph.loggers.protocol import Record


def table(outcomes: dict[str, Outcome], *words: str, **options: str) -> Table:
    axes = read_axes(words)
    runs = [r for n, c in enumerate(settings(axes, None, 0)) for r in repeated(axes, n, c)]
    return Table("Sweep of g", "mlograph sweep g", axes, tuple(runs), outcomes, **options)


def accuracy(value: float, seconds: float = 1.0) -> Outcome:
    return Outcome(0, "all steps made", 5, 5, seconds, {"accuracy": value}, {"a.loss": 1.0})


NAN = Outcome(3, "inner: the loss is not finite | at update 2\nand more", 2, 5)


def test_mean_and_sample_deviation_over_seeds():
    values = [0.5, 0.7, 0.9]
    outcomes = {f"lr=1,seed={i}": accuracy(v, 2.0) for i, v in enumerate(values)}
    outcomes |= {f"lr=2,seed={i}": accuracy(v) for i, v in enumerate([0.1, 0.2])}
    found = table({**outcomes, "lr=2,seed=2": NAN}, "engine.seed=0..2", "lr=1,2")
    first, second = found.rows
    assert first.mean("accuracy") == pytest.approx(statistics.fmean(values))
    assert first.deviation("accuracy") == pytest.approx(statistics.stdev(values))
    assert found.head == ("lr", "runs", "accuracy", "time")
    assert found.cells(first) == ("1", "3", "0.7 ± 0.2", "2.0 s")
    assert found.cells(second) == ("2", "2 of 3", "0.15 ± 0.071", "1.0 s")
    assert as_markdown(found) == (
        "# Sweep of g\n\n    mlograph sweep g\n\n"
        "5 of 6 runs finished. Mean ± standard deviation over the seeds 0, 1, 2.\n\n"
        "| lr | runs | accuracy | time |\n| --- | --- | --- | --- |\n"
        "| 1 | 3 | 0.7 ± 0.2 | 2.0 s |\n| 2 | 2 of 3 | 0.15 ± 0.071 | 1.0 s |\n\n"
        "Not finished:\n\n"
        "- `lr=2,seed=2`: not finite (exit code 3): inner: the loss is not finite \\| at update 2\n"
    )


def test_without_seeds_each_run_has_its_row_and_its_status():
    found = table({"lr=1": accuracy(0.5), "lr=2": NAN}, "lr=1,2,3")
    assert [found.cells(row) for row in found.rows] == [
        ("1", "", "0.5", "1.0 s"),
        ("2", "not finite", "–", "–"),
        ("3", "not run", "–", "–"),
    ]


def test_the_best_comes_first_and_what_has_no_number_last():
    outcomes = {"lr=1": accuracy(0.5), "lr=2": accuracy(0.9), "lr=3": accuracy(math.nan)}
    order = [
        [row.values["lr"] for row in table(outcomes, "lr=1..4", metric="accuracy", **way).rows]
        for way in ({"direction": "max"}, {"direction": "min"})
    ]
    assert order == [["2", "1", "3", "4"], ["1", "2", "3", "4"]]


def test_a_metric_is_one_of_validation_before_one_of_training():
    outcome = Outcome(0, "", validation={"loss": 1.0}, train={"loss": 2.0, "a.loss": 3.0})
    assert [outcome.value(n) for n in ("loss", "val.loss", "a.loss", "b")] == [1.0, 1.0, 3.0, None]


def test_the_csv_has_a_line_for_every_run():
    found = table({"lr=1": accuracy(math.inf), "lr=2": NAN}, "lr=1,2,3")
    head, *rows = csv.reader(as_csv(found).splitlines())
    assert head == [
        *("run", "lr", "status", "exit_code", "steps", "seconds"),
        *("validation.accuracy", "a.loss"),
    ]
    assert rows == [
        ["lr=1", "1", "finished", "0", "5", "1.0", "inf", "1.0"],
        ["lr=2", "2", "not finite", "3", "2", "0.0", "", ""],
        ["lr=3", "3", "not run"],
    ]


def test_outcomes_survive_their_file(tmp_path: Path):
    outcome = Outcome(3, "ü\n", 1, 2, 3.5, {"a": math.inf, "b": math.nan}, {"c": 0.1})
    write_outcome(tmp_path / "o.json", outcome)
    assert repr(read_outcome(tmp_path / "o.json")) == repr(outcome)
    (tmp_path / "o.json").write_text('{"code": 0')
    assert read_outcome(tmp_path / "o.json") is None
    assert read_outcome(tmp_path / "none.json") is None


def test_the_last_values_of_everything():
    records = [
        Record("train", 1, 0.0, {"a": 1.0, "b": 1.0}),
        Record("validation", 1, 0.0, {"v": 1.0, "old": 1.0}),
        Record("train", 2, 0.0, {"a": 2.0}),
        Record("validation", 2, 0.0, {"v": 2.0}),
    ]
    assert gathered(records) == ({"v": 2.0}, {"a": 2.0, "b": 1.0})


def test_names_are_neither_html_nor_cells_nor_commands_of_a_terminal():
    hostile = "<script>|[x](javascript:0)`\x1b[31m\u202e"
    outcome = Outcome(0, "all steps made", 5, 5, 1.0, {hostile: 1.0}, {})
    found = table({"lr=1": outcome, "lr=2": NAN}, "lr=1,2")
    told = "&lt;script&gt;\\|\\[x](javascript:0)\\`\\\\x1b\\[31m\\\\u202e"
    lines = as_markdown(found).splitlines()
    assert f"| lr |  | {told} | time |" in lines
    (head, *_) = csv.reader(as_csv(found).splitlines())
    assert head[-1] == r"validation.<script>|[x](javascript:0)`\x1b[31m\u202e"


def test_a_sweep_whose_numbers_no_float_can_sum_has_a_table():
    values = {"lr=1,seed=0": 1.7e308, "lr=1,seed=1": 1.7e308, "lr=2,seed=0": math.inf}
    outcomes = {name: accuracy(value) for name, value in values.items()}
    outcomes["lr=2,seed=1"] = accuracy(-math.inf)
    found = table(outcomes, "engine.seed=0..1", "lr=1,2", metric="accuracy")
    numbers = [found.cells(row)[2] for row in found.rows]
    assert numbers == ["1.7e+308 ± 0", "nan"]


def test_a_deviation_has_no_more_digits_than_a_few_runs_can_tell():
    outcomes = {f"seed={i}": accuracy(v) for i, v in enumerate([0.794, 0.796])}
    found = table(outcomes, "engine.seed=0..1")
    assert "0.795 ± 0.0014" in found.cells(found.rows[0])


def test_no_value_in_the_csv_is_carried_out_by_a_spreadsheet():
    found = table({"lr=-1": accuracy(-0.5), "lr==1+1": accuracy(0.5)}, "lr=-1,=1+1")
    _, *rows = csv.reader(as_csv(found).splitlines())
    assert [row[1] for row in rows] == ["-1", "'=1+1"]
