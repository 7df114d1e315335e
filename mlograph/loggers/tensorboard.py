"""TensorBoard's event files."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar, final

from mlograph.errors import StorageError
from mlograph.loggers.extras import began, made, required, settings, writing
from mlograph.loggers.protocol import Record
from mlograph.terminal import printable_line


@final
class TensorBoard:
    """Writes scalars and texts for `tensorboard --logdir`; needs `mlograph[tensorboard]`.

    `outer.loss` becomes `outer/loss`, validation `validation/NAME`, a baseline's numbers
    `baseline/TEXT/NAME`, events and the graph's settings texts. A resumed run writes all of it
    again and removes the files of its earlier part, so that nothing is there twice.

    Args:
        path: the folder of the event files.

    Raises:
        UsageError: tensorboard is not installed.
    """

    default: ClassVar[str] = "tensorboard"

    def __init__(self, path: str | Path = default) -> None:
        required("tensorboard", "tensorboard")
        self.path = path
        self._writer: Any = None
        self._earlier: tuple[Path, ...] = ()
        self._began = 0.0

    def placed(self, path: Path) -> TensorBoard:
        """The same, writing to another folder."""
        return TensorBoard(path)

    def start(self, total: int) -> None:
        """Opens a file of its own in the folder."""
        folder = made(Path(self.path))
        self._earlier = tuple(folder.glob("events.out.tfevents.*"))
        with writing(folder):
            self._writer = required("torch.utils.tensorboard", "tensorboard").SummaryWriter(
                str(folder), max_queue=1000, flush_secs=10
            )
            told = "\n".join(f"    {name}: {value}" for name, value in settings(folder).items())
            if told:
                self._writer.add_text("settings", told, 0)
        self._began = time.time()

    def recall(self, records: Sequence[Record], step: int) -> None:
        """Writes what was told before, then removes the files that told it."""
        self._began = began(records)
        for record in records:
            self.log(record)
        with writing(Path(self.path)):
            self._writer.flush()
        for file in self._earlier:
            try:
                file.unlink(missing_ok=True)
            except OSError as error:
                raise StorageError(f"{file}: cannot be removed: {error.strerror}") from error

    def progress(self, step: int) -> None:
        """Nothing is written between records."""

    def log(self, record: Record) -> None:
        """Adds each value at the record's step."""
        assert self._writer is not None, "log before start"
        moment = self._began + record.seconds
        with writing(Path(self.path)):
            for name, value in record.values.items():
                tag = tag_of(record, name)
                self._writer.add_scalar(tag, value, record.step, walltime=moment)
            if record.kind == "event":
                self._writer.add_text("events", record.text, record.step, walltime=moment)

    def close(self) -> None:
        """Writes what waits, and closes the file."""
        if self._writer is not None:
            with writing(Path(self.path)):
                self._writer.close()


def tag_of(record: Record, name: str) -> str:
    """A value's name among groups: `outer/loss`, `validation/accuracy`, `baseline/plain/loss`."""
    if record.kind == "baseline":
        return printable_line(f"baseline/{record.text or 'baseline'}/{name}")
    group = f"validation/{name}" if record.kind == "validation" else name.replace(".", "/", 1)
    # Their files hold valid characters only, and their pages show what a run may have made up.
    return printable_line(group)
