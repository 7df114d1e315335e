"""Run directories that are whole, broken or still being written, read for their pages."""

import json
import shutil
import time
from pathlib import Path

import pytest

from mlograph.errors import UsageError
from mlograph.loggers import Jsonl
from mlograph.loggers.protocol import Record
from mlograph.pictures import Bars, dumped
from mlograph.report import Report, compare, page, read, runs_in
from mlograph.report.content import UNFINISHED
from mlograph.report.content import dumped as dumped_report
from mlograph.terminal import printable

HOSTILE = "<script>alert(1)</script>\"'&"
GRAPH = """\
mlograph: 1
name: pair
problems:
  outer: {module: m, optimizer: {_target_: adam, lr: LR}}
  inner: {module: m, hypergradient: HYPERGRADIENT}
edges: [{u2l: outer -> inner}, {l2u: inner -> outer}]
engine: {steps: 100, seed: SEED}
"""


def train(steps: int, scale: float = 1.0) -> list[Record]:
    return [
        Record("train", i, 0.01 * i, {"outer.loss": scale / i, "inner.residual": 1e-3 * scale * i})
        for i in range(1, steps + 1)
    ]


def made(
    folder: Path,
    *records: Record,
    name: str = "pair",
    lr: str = "0.1",
    seed: int = 0,
    hypergradient: str = "cg",
    finished: bool = True,
) -> Path:
    """A run directory, as a run would leave it."""
    folder.mkdir(parents=True)
    (folder / "checkpoints").mkdir()
    report = Report(
        name=name,
        description="two problems",
        command=f"mlograph run {name}.yaml",
        diagram=b"",
        plan="",
        problems=("outer", "inner"),
        environment="",
        uppers=("outer",),
        ended="all steps made" if finished else UNFINISHED,
        finished=finished,
        steps=100,
        total=100,
        seconds=65.0,
    )
    files = {
        "run.json": dumped_report(report),
        "resolved.yaml": GRAPH.replace("LR", lr).replace("SEED", str(seed))
        .replace("pair", name).replace("HYPERGRADIENT", hypergradient),
        "environment.txt": f"command   mlograph run {name}.yaml\ntorch  2\n",
        "plan.txt": "5 × Step(inner)\n",
        "graph.svg": "<svg id='drawn'></svg>",
    }  # fmt: skip
    for file, text in files.items():
        (folder / file).write_text(text)
    logger = Jsonl(folder / "metrics.jsonl")
    logger.start(100)
    for record in records:
        logger.log(record)
    logger.close()
    return folder


def test_a_whole_run_is_read_without_remarks(tmp_path: Path):
    folder = made(tmp_path / "run", *train(100))
    (folder / "learned.json").write_text(dumped([Bars(title="rates", values=(1.0, 2.0))]))
    (folder / "profile.json").write_text(json.dumps({"seconds": 2.5, "problems": [{"calls": 7}]}))
    run = read(folder)
    assert run.report.remarks == ()
    assert run.settings["problems.outer.optimizer.lr"] == "0.1"
    assert run.settings["edges[0].u2l"] == "outer -> inner"
    text = page(run.report)
    for shown in (
        "two problems", "all steps made", "100 of 100 updates", "mlograph run pair.yaml",
        "torch  2", "5 × Step", "Diagram of", "<b>rates</b>", "By problem",
    ):  # fmt: skip
        assert shown in text
    assert "command " not in run.report.environment


def test_a_run_that_goes_on_says_so(tmp_path: Path):
    folder = made(tmp_path / "run", *train(7), finished=False)
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 8, "sec')
    report = read(folder).report
    assert report.ended == UNFINISHED
    assert len(report.records) == 7
    assert report.remarks == ("metrics.jsonl: 1 line cannot be read",)
    assert 'class="bad"' in page(report)


@pytest.mark.parametrize(
    "name",
    ["run.json", "resolved.yaml", "environment.txt", "plan.txt", "graph.svg", "metrics.jsonl"],
)
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00{[", b"[1, 2]", b"&a [*a]", b"{}"])
def test_a_broken_run_has_a_page_all_the_same(name: str, content: bytes | None, tmp_path: Path):
    folder = made(tmp_path / "pair" / "run", *train(20))
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    run = read(folder)
    assert "pair" in page(run.report)
    assert "pair" in compare([run, made(tmp_path / "pair" / "other", *train(20))])
    if content is None:
        assert f"{name} is missing" in run.report.remarks


@pytest.mark.parametrize(
    "line",
    [
        '{"kind": "train", "step": "x", "seconds": 1}',
        '{"kind": "train", "step": 1e999, "seconds": 1}',
        '{"kind": "train", "step": 1%s, "seconds": 1, "outer.loss": 1}' % ("0" * 400),
        '{"kind": "train", "step": 1, "seconds": Infinity}',
        '{"kind": "train", "step": 1, "seconds": "1"}',
        '{"kind": "event", "step": 1, "seconds": 1, "text": [1]}',
        '{"kind": "train", "step": 1, "seconds": 1, "outer.loss": {}}',
        '{"kind": "train", "step": 1, "seconds": 1, "outer.loss": null}',
        '{"kind": ["train"]}',
        "[" * 100_000,
    ],
)
def test_a_line_that_no_run_wrote_is_left_out(line: str, tmp_path: Path):
    folder = made(tmp_path / "run", *train(3))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(line + "\n")
    report = read(folder).report
    assert len(report.records) == 3
    assert report.remarks == ("metrics.jsonl: 1 line cannot be read",)


@pytest.mark.parametrize("value", ["Infinity", "NaN", "1e999", "[]", '"x"', "null"])
@pytest.mark.parametrize("key", ["seconds", "steps", "total"])
def test_a_run_file_that_no_run_wrote_is_said_to_be_one(key: str, value: str, tmp_path: Path):
    folder = made(tmp_path / "pair" / "run", *train(3))
    facts = json.loads((folder / "run.json").read_text())
    text = json.dumps(facts | {key: "HERE"}).replace('"HERE"', value)
    (folder / "run.json").write_text(text)
    (remark,) = read(folder).report.remarks
    assert remark.startswith("run.json is not what a run wrote")
    page(read(folder).report)


@pytest.mark.parametrize(
    "value",
    [
        [[]],
        [{"a": []}],
        [{"seconds": 1e999}, 3],
        {"a": {"b": []}},
        1e999,
        10**400,
        [{"a": 10**400}],
    ],
)
def test_a_profile_that_no_run_wrote_does_no_harm(value: object, tmp_path: Path):
    folder = made(tmp_path / "run", *train(3))
    (folder / "profile.json").write_text(json.dumps({"instructions": value, "seconds": value}))
    page(read(folder).report)


def test_a_few_lines_of_yaml_that_stand_for_billions_are_bounded(tmp_path: Path):
    folder = made(tmp_path / "run")
    lines = ["a0: &a0 {x: 1}"]
    lines += [f"a{i}: &a{i} {{b: *a{i - 1}, c: *a{i - 1}}}" for i in range(1, 40)]
    (folder / "resolved.yaml").write_text("\n".join(lines))
    assert len(read(folder).settings) <= 5000


def test_nothing_from_a_run_directory_is_taken_for_html(tmp_path: Path):
    folder = made(tmp_path / "run")
    facts = json.loads((folder / "run.json").read_text())
    facts |= dict.fromkeys(("name", "description", "command", "ended"), HOSTILE)
    facts |= {"problems": [HOSTILE], "uppers": [HOSTILE]}
    (folder / "run.json").write_text(json.dumps(facts))
    (folder / "learned.json").write_text(dumped([Bars(title=HOSTILE, values=(1.0,))]))
    (folder / "profile.json").write_text(
        json.dumps({HOSTILE: [{HOSTILE: HOSTILE}], "x": HOSTILE, "y": {HOSTILE: HOSTILE}})
    )
    (folder / "graph.svg").write_text(f"<svg>{HOSTILE}<meta http-equiv='refresh'></svg>")
    for name in ("plan.txt", "environment.txt"):
        (folder / name).write_text(HOSTILE)
    (folder / "resolved.yaml").write_text(f"a: {json.dumps(HOSTILE)}\n{json.dumps(HOSTILE)}: 1\n")
    logger = Jsonl(folder / "metrics.jsonl")
    logger.start(1)
    for i in range(3):
        for kind in ("train", "validation"):
            logger.log(Record(kind, i, 0.0, {HOSTILE: float(i), f"{HOSTILE}.loss": float(-i)}))
    logger.log(Record("event", 3, 0.0, text=HOSTILE))
    logger.close()
    other = shutil.copytree(folder, tmp_path / "x<b>y")
    (other / "resolved.yaml").write_text(f"a: 1\n{json.dumps(HOSTILE)}: {json.dumps(HOSTILE)}\n")
    for text in (page(read(folder).report), compare([folder, other], tmp_path, HOSTILE, HOSTILE)):
        assert "<script" not in text
        assert "<b>y" not in text
        assert "refresh" not in text


def test_a_hundred_thousand_rows_make_a_page_of_bounded_size_in_seconds(tmp_path: Path):
    folder = made(tmp_path / "run", *train(100_000))
    began = time.process_time()
    text = page(read(folder).report)
    assert time.process_time() - began < 10
    assert len(text) < 100_000
    assert "steps" in text


def test_runs_are_found_in_the_folders_that_hold_them(tmp_path: Path):
    one, two = made(tmp_path / "runs" / "pair" / "a"), made(tmp_path / "runs" / "pair" / "b")
    assert runs_in(one) == (one,)
    assert runs_in(tmp_path / "runs" / "pair") == (one, two)
    assert runs_in(tmp_path / "runs") == (one, two)
    with pytest.raises(UsageError, match="holds no run"):
        runs_in(one / "checkpoints")
    with pytest.raises(UsageError, match="there is no such folder"):
        runs_in(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is no directory of a run"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["a\u2028b", "a\x85b", "a\x0bb\x1cc", "\ud800"])
def test_whatever_a_name_holds_its_curve_is_read(name: str, tmp_path: Path):
    told = [Record("train", i, 0.1, {name: float(i)}) for i in (1, 2)]
    run = read(made(tmp_path / "a", *told, Record("event", 2, 0.2, text=name)))
    assert run.report.remarks == read(made(tmp_path / "b", *train(2))).report.remarks
    assert run.report.records[-1].text == name
    assert run.report.records[0].values == {name: 1.0}
    assert f"<b>{printable(name)}</b>" in page(run.report)


def test_a_number_that_no_float_holds_is_a_broken_line(tmp_path: Path):
    folder = made(tmp_path / "a", *train(2))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write(f'{{"kind": "train", "step": 3, "seconds": 1, "outer.loss": {"9" * 400}}}\n')
    run = read(folder)
    assert "metrics.jsonl: 1 line cannot be read" in run.report.remarks
    assert len(run.report.records) == 2
