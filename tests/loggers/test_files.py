"""Sinks that write files."""

import csv
import json
import math
from pathlib import Path

import pandas
import pytest

from mlograph.errors import StorageError, UsageError
from mlograph.loggers import LOGGERS, Csv, Jsonl
from mlograph.loggers.jsonl import read
from mlograph.loggers.protocol import Logger, Record
from mlograph.terminal import printable

TRAIN = Record("train", 10, 1.23456789, {"outer.loss": 0.5, "inner.loss": math.nan})
BASELINE = Record("baseline", 0, 0.1, {"accuracy": 0.2}, text="no adaptation, “plain”")
EVENT = Record("event", 20, 2.0, text="stopped\nearly,\r")


def write(logger: Logger, *records: Record) -> None:
    logger.start(100)
    for record in records:
        logger.log(record)
        logger.progress(record.step)
    logger.close()


@pytest.mark.parametrize("name", ["jsonl", "csv"])
def test_every_file_sink_writes_a_record_to_its_path(name: str, tmp_path: Path):
    path = tmp_path / "new" / "folder" / f"metrics.{name}"
    write(LOGGERS[name](path=path), TRAIN)
    text = path.read_text()
    assert "outer.loss" in text
    assert "0.5" in text


def test_jsonl_is_one_flat_object_a_line(tmp_path: Path):
    path = tmp_path / "m.jsonl"
    write(Jsonl(path), TRAIN, BASELINE, EVENT)
    first, second, third = map(json.loads, path.read_text().splitlines())
    assert first == {
        "kind": "train",
        "step": 10,
        "seconds": 1.234568,
        "outer.loss": 0.5,
        "inner.loss": "nan",
    }
    assert second["text"] == BASELINE.text
    assert "“plain”" in path.read_text()
    assert third == {"kind": "event", "step": 20, "seconds": 2.0, "text": "stopped\nearly,\r"}


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
def test_numbers_that_are_not_finite_are_strings_that_float_reads(value: float, tmp_path: Path):
    write(Jsonl(tmp_path / "m"), Record("train", 1, 0.0, {"loss": value}))
    line = (tmp_path / "m").read_text()
    written = json.loads(line, parse_constant=pytest.fail)["loss"]
    assert isinstance(written, str)
    assert str(float(written)) == str(value)


def test_a_value_named_like_a_key_of_the_record_does_not_replace_it(tmp_path: Path):
    write(Jsonl(tmp_path / "m"), Record("validation", 7, 0.0, {"step": 3.0, "kind": 1.0}))
    line = json.loads((tmp_path / "m").read_text())
    assert line["step"] == 7
    assert line["kind"] == "validation"
    assert line["values.step"] == 3.0


def test_csv_has_a_line_for_every_value(tmp_path: Path):
    path = tmp_path / "m.csv"
    write(Csv(path), TRAIN, BASELINE, EVENT)
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["kind"], row["name"], row["value"]) for row in rows] == [
        ("train", "outer.loss", "0.5"),
        ("train", "inner.loss", "nan"),
        ("baseline", "accuracy", "0.2"),
        ("event", "", ""),
    ]
    assert rows[2]["text"] == BASELINE.text
    assert rows[3]["text"] == "stopped\nearly,\\r"


HOSTILE = ("\x1b[31mred\x07", "nul\0", "a\u2028b\x85c", "\u202ertl", "tab\tcr\r", "\ud800half")


@pytest.mark.parametrize("name", HOSTILE)
def test_nothing_in_a_csv_is_obeyed_by_a_terminal(name: str, tmp_path: Path):
    path = tmp_path / "m.csv"
    write(Csv(path), Record("train", 1, 0.0, {name: 1.0}, text=f"{name}\nsecond line"))
    text = path.read_text(encoding="utf-8")
    assert all(line.isprintable() for line in text.split("\n"))
    table = pandas.read_csv(path)
    assert list(table.value) == [1.0]
    assert list(table.text) == [f"{printable(name)}\nsecond line"]


@pytest.mark.parametrize("name", ["=1+1", "@SUM(A1)", "+cmd|' /C calc'!A0", "-2+3"])
def test_no_name_in_a_csv_is_carried_out_by_a_spreadsheet(name: str, tmp_path: Path):
    path = tmp_path / "m.csv"
    write(Csv(path), Record("train", 1, 0.0, {name: -1.5}, text=name))
    table = pandas.read_csv(path)
    assert list(table.name) == list(table.text) == [f"'{name}"]
    assert list(table.value) == [-1.5]


def test_a_csv_with_hostile_names_has_its_columns_and_numbers_in_pandas(tmp_path: Path):
    path = tmp_path / "m.csv"
    write(
        Csv(path), TRAIN, *(Record("train", i, 0.0, {n: float(i)}) for i, n in enumerate(HOSTILE))
    )
    table = pandas.read_csv(path)
    assert list(table.columns) == ["kind", "step", "seconds", "name", "value", "text"]
    assert table.value.dtype == float
    assert list(table.value[2:]) == [float(i) for i in range(len(HOSTILE))]


@pytest.mark.parametrize("name", HOSTILE)
def test_what_a_jsonl_wrote_is_read_again(name: str, tmp_path: Path):
    told = [Record("train", 1, 0.0, {name: 1.0}), Record("event", 2, 0.5, text=name)]
    write(Jsonl(tmp_path / "m"), *told)
    assert read(tmp_path / "m") == tuple(told)


def test_a_number_that_no_float_holds_is_told_with_the_file(tmp_path: Path):
    (tmp_path / "m").write_text(f'{{"kind":"train","step":1,"seconds":1,"loss":{"9" * 400}}}\n')
    with pytest.raises(StorageError, match="m: holds something else than records"):
        read(tmp_path / "m")


@pytest.mark.parametrize("sink", [Jsonl, Csv])
def test_a_line_can_be_read_before_the_run_ends(sink: type[Jsonl] | type[Csv], tmp_path: Path):
    logger = sink(tmp_path / "m")
    logger.start(10)
    logger.log(TRAIN)
    assert "outer.loss" in (tmp_path / "m").read_text()
    logger.close()


@pytest.mark.parametrize("sink", [Jsonl, Csv])
def test_closing_without_a_start_writes_nothing(sink: type[Jsonl] | type[Csv], tmp_path: Path):
    sink(tmp_path / "m").close()
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("sink", [Jsonl, Csv])
def test_a_path_that_cannot_be_written_is_named(sink: type[Jsonl] | type[Csv], tmp_path: Path):
    (tmp_path / "file").write_text("")
    logger = sink(tmp_path / "file" / "m")
    with pytest.raises(UsageError, match=r"file/m: cannot be written: "):
        logger.start(10)


def test_a_full_disk_is_named():
    logger = Jsonl("/dev/full")
    logger.start(10)
    with pytest.raises(UsageError, match="/dev/full: cannot be written: No space left"):
        logger.log(TRAIN)
    with pytest.raises(UsageError, match="No space left"):
        logger.close()
