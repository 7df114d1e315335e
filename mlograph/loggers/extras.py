"""What sinks share that write through a package of somebody else's."""

from __future__ import annotations

import importlib
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlograph.errors import StorageError, UsageError
from mlograph.loggers.protocol import Record
from mlograph.settings import flattened


def required(module: str, extra: str) -> Any:
    """The module of an optional package.

    Raises:
        UsageError: it is not installed, or cannot be imported.
    """
    package = module.partition(".")[0]
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = isinstance(error, ModuleNotFoundError)
        what = "is not installed" if missing else f"cannot be imported: {error}"
        raise UsageError(f"{package} {what}: pip install 'mlograph[{extra}]'") from error


def names(path: Path) -> tuple[str, str]:
    """What a run is called: its graph and its time, from a sink's place NAME/TIME/SINK."""
    run = path.resolve().parent
    return run.parent.name or "mlograph", run.name or "run"


def settings(path: Path) -> dict[str, str]:
    """What the graph of a run says, by dotted name, from a sink's place in the run directory."""
    try:
        return flattened((path.resolve().parent / "resolved.yaml").read_text("utf-8"))
    except (OSError, ValueError):
        return {}


def made(folder: Path) -> Path:
    """The folder, which exists now.

    Raises:
        StorageError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{folder}: cannot be written: {error.strerror or error}") from error
    return folder


def began(records: Sequence[Record]) -> float:
    """When a run began that goes on now and has told these records: seconds since the epoch."""
    return time.time() - max((record.seconds for record in records), default=0.0)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Whatever a package raises while it writes is told with the place."""
    try:
        yield
    except (UsageError, StorageError):
        raise
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        raise StorageError(f"{path}: cannot be written: {reason}") from error


@contextmanager
def environment(**values: str) -> Iterator[None]:
    """Variables that a package reads when it starts; as before at the end."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
