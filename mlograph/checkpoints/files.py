"""One file of a checkpoint: a header with length and checksum, then what `torch.save` wrote.

A file is written under another name in the folder where it belongs, synchronised with the disk, and
only then given its name, so that under that name there is always a whole file: the old or the new.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.types import Storage

from mlograph.errors import StorageError

SUFFIX = ".ckpt"
# Between the process's number and this stands what is being written.
PARTIAL = ".partial"

_MAGIC = b"mlograph checkpoint 1\n"
_HEADER = len(_MAGIC) + len(b"bytes \nsha256 \n") + 20 + 64


class DamagedError(Exception):
    """A file is not what was written once; the text says how that is known."""


def write(path: Path, state: dict[str, Any]) -> int:
    """Write `state` to `path`, whole or not at all, and survive a loss of power afterwards.

    Memory: once the size of the file.

    Returns:
        The bytes written.

    Raises:
        StorageError: it cannot be written; what was there before is still there.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    header = _header(len(payload), hashlib.sha256(payload).hexdigest())
    beside = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        with beside.open("wb") as file:
            file.write(header)
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            # First, since what is free is told.
            beside.unlink(missing_ok=True)
        raise _unwritten(path, len(header) + len(payload), error) from error
    finally:
        with contextlib.suppress(OSError):
            beside.unlink(missing_ok=True)
    return len(header) + len(payload)


def read(path: Path, place: Callable[[Storage, str], Storage] | None = None) -> Any:
    """What was written to `path`; nothing in it is executed.

    Args:
        path: the file.
        place: for each tensor's storage, the same on the device where it is wanted; by default
            where it was.

    Raises:
        DamagedError: a bit or more of it is not what was written.
        OSError: it cannot be read at all.
    """
    data = path.read_bytes()
    payload = memoryview(data)[_HEADER:]
    if not data.startswith(_MAGIC):
        raise DamagedError("is no checkpoint of mlograph" if data else "is empty")
    if data[:_HEADER] != _header(len(payload), hashlib.sha256(payload).hexdigest()):
        raise DamagedError("is damaged: its length or checksum is not what was written")
    try:
        return torch.load(io.BytesIO(payload), map_location=place, weights_only=True)
    except Exception as error:
        reason = str(error).splitlines()[0]
        raise DamagedError(f"holds more than plain data: {reason}") from error


def sync_folder(folder: Path) -> None:
    """Have the names in a folder written to the disk, where the system can do that."""
    if os.name != "posix":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _header(length: int, checksum: str) -> bytes:
    return _MAGIC + f"bytes {length:020}\nsha256 {checksum}\n".encode()


def _unwritten(path: Path, size: int, error: OSError) -> StorageError:
    free = ""
    with contextlib.suppress(OSError):
        free = f"; {size:,} bytes are needed, {shutil.disk_usage(path.parent).free:,} are free"
    reason = error.strerror or error
    return StorageError(f"{path}: the checkpoint cannot be written: {reason}{free}")
