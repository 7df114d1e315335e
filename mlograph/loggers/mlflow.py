"""MLflow, in a database file of its own."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

from mlograph.loggers.extras import began, environment, made, names, required, settings, writing
from mlograph.loggers.protocol import Record
from mlograph.loggers.tensorboard import tag_of

# Each batch is a transaction, which a disk needs milliseconds for.
_BATCH = 800
_SECONDS = 5.0
_MOST_PARAMS = 100


def _allowed(name: str) -> str:
    return re.sub(r"[^\w./ -]", "_", name, flags=re.ASCII)


@final
class MLflow:
    """Writes a run of MLflow to a SQLite file; needs `mlograph[mlflow]`.

    `mlflow ui --backend-store-uri sqlite:///PATH/mlflow.db` shows it. Values are named as for
    TensorBoard; characters that MLflow does not take become `_`. Events are the artifact
    `events.txt`, the graph's settings the parameters. A resumed run writes all of it again and
    deletes the run of its earlier part.

    Args:
        path: the folder of the database and the artifacts.
        experiment: by default the name of the graph.
        name: by default the time of the run directory.

    Raises:
        UsageError: mlflow is not installed.
    """

    default: ClassVar[str] = "mlflow"

    def __init__(self, path: str | Path = default, experiment: str = "", name: str = "") -> None:
        # Asked for when the package is imported: it would tell its makers that it is used.
        with environment(MLFLOW_DISABLE_TELEMETRY="true", DO_NOT_TRACK="true"):
            required("mlflow.tracking", "mlflow")
        self.path = path
        self._experiment, self._name = experiment, name
        self._client: Any = None
        self._run = self._earlier = ""
        self._began, self._written = 0.0, 0.0
        self._waiting: list[Any] = []
        self._events: list[str] = []

    def placed(self, path: Path) -> MLflow:
        """The same, writing to another folder."""
        return MLflow(path, self._experiment, self._name)

    def start(self, total: int) -> None:
        """Creates a run, and notes its id beside the database."""
        folder = made(Path(self.path).resolve())
        note = folder / "run_id.txt"
        experiment, name = names(folder)
        with writing(folder):
            self._earlier = note.read_text("utf-8").strip() if note.exists() else ""
            self._client = required("mlflow.tracking", "mlflow").MlflowClient(
                f"sqlite:///{folder / 'mlflow.db'}"
            )
            known = self._client.get_experiment_by_name(self._experiment or experiment)
            place = (folder / "artifacts").as_uri()
            number = (
                known.experiment_id
                if known is not None
                else self._client.create_experiment(self._experiment or experiment, place)
            )
            self._run = self._client.create_run(number, run_name=self._name or name).info.run_id
            said = {"updates": str(total), **settings(folder)}
            params = required("mlflow.entities", "mlflow").Param
            told = [params(_allowed(key)[:250], value[:500]) for key, value in said.items()]
            for begin in range(0, len(told), _MOST_PARAMS):
                batch = told[begin : begin + _MOST_PARAMS]
                self._client.log_batch(self._run, params=batch)
            note.write_text(self._run, "utf-8")
        self._began = self._written = time.time()
        self._waiting, self._events = [], []

    def recall(self, records: Sequence[Record], step: int) -> None:
        """Writes what was told before, then deletes the run that told it."""
        self._began = began(records)
        for record in records:
            self.log(record)
        self._flush()
        if self._earlier:
            with writing(Path(self.path)):
                self._client.delete_run(self._earlier)

    def progress(self, step: int) -> None:
        """Writes what has waited for long."""
        if self._waiting and time.time() - self._written > _SECONDS:
            self._flush()

    def log(self, record: Record) -> None:
        """Adds the values at the record's step; they are written a few at a time."""
        entities = required("mlflow.entities", "mlflow")
        moment = int(1000 * (self._began + record.seconds))
        for name, value in record.values.items():
            # An infinity is stored as the greatest number, which would stretch every chart.
            number = value if math.isfinite(value) else math.nan
            tag = _allowed(tag_of(record, name))[:250]
            self._waiting.append(entities.Metric(tag, number, moment, record.step))
        if record.kind == "event":
            self._events.append(f"step {record.step}: {record.text}\n")
        if len(self._waiting) >= _BATCH:
            self._flush()

    def close(self) -> None:
        """Writes what waits, and ends the run."""
        if self._client is not None:
            self._flush()
            with writing(Path(self.path)):
                self._client.set_terminated(self._run)

    def _flush(self) -> None:
        waiting, self._waiting = self._waiting, []
        with writing(Path(self.path)):
            for begin in range(0, len(waiting), _BATCH):
                self._client.log_batch(self._run, metrics=waiting[begin : begin + _BATCH])
            if self._events:
                self._client.log_text(self._run, "".join(self._events), "events.txt")
        self._written = time.time()
