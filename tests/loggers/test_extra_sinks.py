"""Sinks that write through packages of others: what these packages read back."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mlograph.errors import GraphError, UsageError
from mlograph.loggers import LOGGERS, MLflow, TensorBoard, WandB
from mlograph.loggers.protocol import Logger, PlacedLogger, RecallingLogger, Record
from mlograph.terminal import printable_line

RECORDS = (
    Record("baseline", 0, 0.1, {"accuracy": 0.2}, text="no adaptation"),
    Record("train", 1, 0.5, {"outer.loss": 2.0, "inner.loss": math.nan}),
    Record("event", 1, 0.6, text="CG stopped early"),
    Record("event", 1, 0.7, text="twice"),
    Record("train", 2, 1.0, {"outer.loss": 1.0, "inner.loss": 0.5}),
    Record("validation", 2, 1.5, {"accuracy": 0.75}),
)
# What came between the last checkpoint and the end of the process.
LOST = Record("train", 3, 2.0, {"outer.loss": 99.0, "inner.loss": 99.0})
AFTER = Record("train", 3, 2.5, {"outer.loss": 0.5, "inner.loss": 0.25})


def write(logger: Logger, *records: Record) -> None:
    logger.start(3)
    for record in records:
        logger.log(record)
        logger.progress(record.step)
    logger.close()


def resume(logger: RecallingLogger, told: Sequence[Record], *records: Record) -> None:
    logger.start(3)
    logger.progress(2)
    logger.recall(told, 2)
    for record in records:
        logger.log(record)
    logger.close()


def tensorboard_reads(folder: Path) -> dict[str, list[tuple[int, float]]]:
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = events.EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0})
    found.Reload()
    tags = found.Tags()
    scalars = {
        tag: [(event.step, event.value) for event in found.Scalars(tag)] for tag in tags["scalars"]
    }
    texts = [
        (event.step, event.tensor_proto.string_val[0].decode())
        for tag in tags["tensors"]
        for event in found.Tensors(tag)
    ]
    return {**scalars, "texts": texts}


def leveldb_records(log: bytes) -> Iterator[bytes]:
    """The records of a log in LevelDB's format: blocks of 32 KiB, 7 bytes before each part."""
    place, parts = 7, b""
    while place + 7 <= len(log):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        length, kind = int.from_bytes(log[place + 4 : place + 6], "little"), log[place + 6]
        parts += log[place + 7 : place + 7 + length]
        place += 7 + length
        if kind in {1, 4}:
            yield parts
            parts = b""


def wandb_reads(folder: Path) -> list[dict[str, str]]:
    """Every row of history of every offline run in the folder."""
    proto = pytest.importorskip("wandb.proto.wandb_internal_pb2")
    # Its service writes on for a moment after a run has finished, at the latest until this.
    pytest.importorskip("wandb").teardown()
    rows = []
    for file in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        for data in leveldb_records(file.read_bytes()):
            record = proto.Record()
            record.ParseFromString(data)
            if record.WhichOneof("record_type") == "history":
                rows.append(
                    {i.key or "/".join(i.nested_key): i.value_json for i in record.history.item}
                )
    return rows


def mlflow_reads(folder: Path) -> dict[str, list[tuple[int, float]]]:
    tracking = pytest.importorskip("mlflow.tracking")
    client = tracking.MlflowClient(f"sqlite:///{folder.resolve() / 'mlflow.db'}")
    numbers = [one.experiment_id for one in client.search_experiments()]
    (run,) = client.search_runs(numbers)
    return {
        name: [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, name)]
        for name in run.data.metrics
    }


def test_tensorboard_reads_what_was_written(tmp_path: Path):
    pytest.importorskip("tensorboard")
    write(TensorBoard(tmp_path / "tb"), *RECORDS)
    found = tensorboard_reads(tmp_path / "tb")
    assert found["outer/loss"] == [(1, 2.0), (2, 1.0)]
    assert math.isnan(found["inner/loss"][0][1])
    assert found["validation/accuracy"] == [(2, 0.75)]
    assert found["baseline/no adaptation/accuracy"][0][0] == 0
    assert found["texts"] == [(1, "CG stopped early"), (1, "twice")]


def test_tensorboard_goes_on_without_doubled_rows(tmp_path: Path):
    pytest.importorskip("tensorboard")
    write(TensorBoard(tmp_path), *RECORDS, LOST)
    (tmp_path / "mine.txt").write_text("kept")
    resume(TensorBoard(tmp_path), RECORDS, AFTER)
    assert tensorboard_reads(tmp_path)["outer/loss"] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 1
    assert (tmp_path / "mine.txt").exists()


def test_a_second_run_in_the_same_folder_leaves_the_first(tmp_path: Path):
    pytest.importorskip("tensorboard")
    write(TensorBoard(tmp_path), *RECORDS)
    write(TensorBoard(tmp_path), *RECORDS)
    assert len(list(tmp_path.glob("events.out.tfevents.*"))) == 2


@pytest.mark.slow
def test_wandb_writes_an_offline_run_and_goes_on_without_doubled_rows(tmp_path: Path):
    pytest.importorskip("wandb")
    write(WandB(tmp_path / "wb"), *RECORDS, LOST)
    rows = wandb_reads(tmp_path / "wb")
    assert [row["outer/loss"] for row in rows if "outer/loss" in row] == ["2", "1", "99"]
    assert [row["event"] for row in rows if "event" in row] == ['"CG stopped early\\ntwice"']
    first = next((tmp_path / "wb").glob("wandb/offline-run-*"))
    resume(WandB(tmp_path / "wb"), RECORDS, AFTER)
    rows = wandb_reads(tmp_path / "wb")
    assert [row["outer/loss"] for row in rows if "outer/loss" in row] == ["2", "1", "0.5"]
    (second,) = (tmp_path / "wb").glob("wandb/offline-run-*")
    assert second.name.rpartition("-")[2] == first.name.rpartition("-")[2]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mlflow_reads_what_was_written_and_goes_on_without_doubled_rows(tmp_path: Path):
    pytest.importorskip("mlflow")
    folder = tmp_path / "reweight" / "2026" / "mlflow"
    write(MLflow(folder), *RECORDS, LOST)
    found = mlflow_reads(folder)
    assert found["outer/loss"] == [(1, 2.0), (2, 1.0), (3, 99.0)]
    assert math.isnan(found["inner/loss"][0][1])
    assert found["baseline/no adaptation/accuracy"] == [(0, 0.2)]
    resume(MLflow(folder), RECORDS, AFTER)
    assert mlflow_reads(folder)["outer/loss"] == [(1, 2.0), (2, 1.0), (3, 0.5)]
    texts = sorted(folder.glob("artifacts/*/artifacts/events.txt"))
    assert "step 1: twice\n" in texts[-1].read_text()


@pytest.mark.slow
@pytest.mark.parametrize("sink", [TensorBoard, WandB, MLflow])
def test_everything_stays_in_the_folder(sink: type[TensorBoard | WandB | MLflow], tmp_path: Path):
    """In a process of its own, whose home and working directory can be looked through."""
    import subprocess
    import sys

    pytest.importorskip(sink.__name__.lower())
    places = {name: tmp_path / name for name in ("home", "cwd", "run")}
    for place in places.values():
        place.mkdir()
    code = (
        "from pathlib import Path\n"
        "from mlograph.loggers.protocol import Record\n"
        f"from mlograph.loggers import {sink.__name__}\n"
        f"sink = {sink.__name__}(Path({str(places['run'])!r}) / 'sink')\n"
        "sink.start(1)\nsink.log(Record('train', 1, 0.1, {'a.loss': 1.0}))\nsink.close()\n"
    )
    environment = {
        **os.environ,
        "HOME": str(places["home"]),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", code], cwd=places["cwd"], env=environment, check=True)
    assert any(places["run"].rglob("*"))
    left = [f for name in ("home", "cwd") for f in places[name].rglob("*") if f.is_file()]
    # What any process with matplotlib or torch leaves is not theirs.
    assert [f for f in left if "matplotlib" not in str(f) and "torch" not in str(f)] == []


@pytest.mark.parametrize("name", ["tensorboard", "wandb", "mlflow"])
def test_a_missing_package_is_named_with_its_extra(name: str, monkeypatch: pytest.MonkeyPatch):
    import sys

    monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setitem(sys.modules, f"{name}.tracking", None)
    with pytest.raises(UsageError, match=rf"{name} .*: pip install 'mlograph\[{name}\]'"):
        LOGGERS[name]()


def test_every_sink_that_writes_can_be_placed(tmp_path: Path):
    for name in ("jsonl", "csv", "tensorboard", "wandb", "mlflow"):
        if name not in {"jsonl", "csv"}:
            pytest.importorskip(name)
        sink = LOGGERS[name]()
        assert isinstance(sink, PlacedLogger)
        assert sink.placed(tmp_path / "x").path == tmp_path / "x"


GRAPH = """mlograph: 1
name: g
problems:
  a:
    module: {_target_: torch.nn.Linear, in_features: 1, out_features: 1}
    loss: parts.square
    optimizer: {_target_: sgd, lr: 0.1}
engine: {steps: 4, device: cpu, log_every: 1, loggers: LOGGERS}
"""
PARTS = """
import torch

def square(a):
    return a(torch.ones(1, 1)).square().sum()
"""


def graph(folder: Path, loggers: str) -> Path:
    (folder / "parts.py").write_text(PARTS)
    file = folder / "g.yaml"
    file.write_text(GRAPH.replace("LOGGERS", loggers))
    return file


def test_a_graph_file_writes_to_tensorboard_in_its_run_directory(tmp_path: Path):
    from mlograph import load

    pytest.importorskip("tensorboard")
    result = load(graph(tmp_path, "[tensorboard, {_target_: csv, path: all.csv}]")).run(
        tmp_path / "runs", quiet=True
    )
    assert result.directory is not None
    assert len(tensorboard_reads(result.directory / "tensorboard")["a/loss"]) == 4
    assert (result.directory / "all.csv").is_file()
    texts = tensorboard_reads(result.directory / "tensorboard")["texts"]
    assert any("problems.a.optimizer.lr: 0.1" in text for _, text in texts)


@pytest.mark.parametrize(
    ("loggers", "message"),
    [
        ("[tensorbord]", r"no logger 'tensorbord' \(did you mean 'tensorboard'\?\)"),
        ("[{_target_: csv, path: ../out.csv}]", "does not lie in the folder of the run"),
        ("[{_target_: jsonl, path: run.json}]", "a run writes 'run.json' itself"),
    ],
)
def test_a_logger_that_cannot_be_is_refused_before_the_run(
    loggers: str, message: str, tmp_path: Path
):
    from mlograph import load

    with pytest.raises(GraphError, match=message):
        load(graph(tmp_path, loggers)).run(tmp_path / "runs", quiet=True)
    assert not list(tmp_path.glob("runs/*/*"))


def test_a_graph_whose_logger_is_not_installed_ends_before_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    import sys

    from mlograph import load

    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(
        GraphError, match=r"g\.yaml:.*pip install 'mlograph\[tensorboard\]'"
    ) as caught:
        load(graph(tmp_path, "[tensorboard]")).run(tmp_path / "runs", quiet=True)
    assert caught.value.exit_code == 2
    assert not list(tmp_path.glob("runs/*/*"))


PLUGIN = """
from mlograph.loggers.protocol import Record

class Plain:
    def __init__(self, path="plain.txt", mark=""):
        self.path, self.mark = path, mark

    def placed(self, path):
        return Plain(path, self.mark)

    def start(self, total):
        self.file = open(self.path, "w")

    def progress(self, step):
        pass

    def log(self, record):
        self.file.write(f"{self.mark}{record.step}\\n")

    def close(self):
        self.file.close()
"""


def test_another_package_adds_a_sink_by_an_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from mlograph import load

    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "mlograph_plain_sink.py").write_text(PLUGIN)
    about = tmp_path / "site" / "mlograph_plain_sink-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: mlograph-plain-sink\nVersion: 1.0\n"
    )
    (about / "entry_points.txt").write_text(
        "[mlograph.loggers]\nplain = mlograph_plain_sink:Plain\n"
    )
    monkeypatch.syspath_prepend(tmp_path / "site")
    result = load(graph(tmp_path, "[{_target_: plain, mark: s}]")).run(
        tmp_path / "runs", quiet=True
    )
    assert result.directory is not None
    assert (result.directory / "plain.txt").read_text().splitlines() == ["s1", "s2", "s3", "s4"]


@pytest.mark.parametrize("name", ["\ud800half", "\x1b[31mred", "\u202ertl", "a\nb", "<b>"])
def test_a_name_of_any_characters_is_a_tag(name: str, tmp_path: Path):
    pytest.importorskip("tensorboard")
    write(TensorBoard(tmp_path), Record("validation", 1, 0.1, {name: 0.5}))
    assert tensorboard_reads(tmp_path)[f"validation/{printable_line(name)}"] == [(1, 0.5)]
