"""Weights & Biases, offline."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

from mlograph.loggers.extras import environment, made, names, required, settings, writing
from mlograph.loggers.protocol import Record
from mlograph.loggers.tensorboard import tag_of


@final
class WandB:
    """Writes an offline run of Weights & Biases; needs `mlograph[wandb]`.

    Nothing leaves the machine until somebody calls `wandb sync PATH/wandb/offline-run-…`.
    Values are named as for TensorBoard; baselines are in the summary, the graph's settings in the
    config; `seconds` is the clock of the run. A resumed run writes all of it
    again under the same id and removes its earlier part.

    Args:
        path: the folder that its own folder `wandb` is made in.
        project: by default the name of the graph.
        name: by default the time of the run directory.

    Raises:
        UsageError: wandb is not installed.
    """

    default: ClassVar[str] = "wandb-offline"

    def __init__(self, path: str | Path = default, project: str = "", name: str = "") -> None:
        required("wandb", "wandb")
        self.path = path
        self._project, self._name = project, name
        self._run: Any = None
        self._earlier: tuple[Path, ...] = ()
        self._events: dict[int, str] = {}

    def placed(self, path: Path) -> WandB:
        """The same, writing to another folder."""
        return WandB(path, self._project, self._name)

    def start(self, total: int) -> None:
        """Begins an offline run in the folder, with the id of the one before it, if any."""
        wandb = required("wandb", "wandb")
        folder = made(Path(self.path).resolve())
        self._earlier = tuple(sorted(folder.glob("wandb/offline-run-*")))
        project, name = names(folder)
        quietly = wandb.Settings(
            silent=True,
            console="off",
            disable_git=True,
            disable_code=True,
            save_code=False,
            x_disable_stats=True,
            x_disable_meta=True,
            x_disable_machine_info=True,
        )
        with writing(folder), environment(WANDB_CACHE_DIR=str(folder / "wandb" / "cache")):
            self._run = wandb.init(
                mode="offline",
                dir=str(folder),
                id=self._earlier[-1].name.rpartition("-")[2] if self._earlier else None,
                project=self._project or project,
                name=self._name or name,
                config={"updates": total, **settings(folder)},
                settings=quietly,
            )
        self._events = {}

    def recall(self, records: Sequence[Record], step: int) -> None:
        """Writes what was told before, then removes the runs that told it."""
        for record in records:
            self.log(record)
        with writing(Path(self.path)):
            current = Path(self._run.settings.sync_dir)
            for folder in self._earlier:
                if folder != current:
                    shutil.rmtree(folder)

    def progress(self, step: int) -> None:
        """Nothing is written between records."""

    def log(self, record: Record) -> None:
        """Adds the values to the history at the record's step."""
        assert self._run is not None, "log before start"
        values: dict[str, float | str] = {
            tag_of(record, name): value for name, value in record.values.items()
        }
        with writing(Path(self.path)):
            if record.kind == "baseline":
                self._run.summary.update(values)
                return
            if record.kind == "event":
                # What is logged twice at a step replaces what was there.
                told = self._events.get(record.step)
                text = record.text if told is None else f"{told}\n{record.text}"
                self._events = {record.step: text}
                values["event"] = text
            self._run.log({**values, "seconds": record.seconds}, step=record.step)

    def close(self) -> None:
        """Ends the run."""
        if self._run is not None:
            with writing(Path(self.path)):
                self._run.finish()
