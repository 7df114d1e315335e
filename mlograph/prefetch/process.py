"""The process that reads ahead from a source, seen from the run."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from typing import Any, Protocol, final

import torch

from mlograph.children import ended, local_files, started
from mlograph.prefetch.messages import Setup
from mlograph.prefetch.packing import packed, unpacked

_SECONDS_TO_END = 5.0


class Helper(Protocol):
    """Has a copy of a source, and reads from it."""

    @property
    def number(self) -> int:
        """The id of its process."""
        ...

    @property
    def has_answered(self) -> bool:
        """Whether there is something to receive, be it that the process has ended."""
        ...

    def send(self, message: object) -> None:
        """Tell it something.

        Raises:
            LostError: it is not there any more.
        """
        ...

    def receive(self) -> Any:
        """What it says, as soon as it says something.

        Raises:
            LostError: it is not there any more.
        """
        ...

    def close(self) -> None:
        """Ends it, whatever it is doing."""
        ...


class LostError(Exception):
    """The process has ended, or cannot be started."""


@final
class Process:
    """A helper in a process of its own.

    Args:
        source: the source, packed.

    Raises:
        LostError: it cannot be started.
    """

    def __init__(self, source: bytes) -> None:
        setup = Setup(
            torch.get_num_threads(),
            torch.get_float32_matmul_precision(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_default_dtype(),
            "learn2learn" in sys.modules,
        )
        try:
            # In a file, since nobody waits until the process is there to be told so much.
            blob = _written(source)
            try:
                self._process, self._connection = started("mlograph.prefetch.reader", (blob,))
            finally:
                os.close(blob)
        except OSError as error:
            raise LostError(f"cannot be started: {error}") from error
        self._send(packed(local_files()))
        self._send(packed(setup))

    @property
    def number(self) -> int:
        """The process's id."""
        return self._process.pid

    @property
    def has_answered(self) -> bool:
        """Whether there is something to receive, be it that the process has ended."""
        try:
            return self._connection.poll()
        except OSError:
            return True

    def send(self, message: object) -> None:
        """Tell it something.

        Raises:
            LostError: it is not there any more.
        """
        self._send(packed(message))

    def receive(self) -> Any:
        """What it says, as soon as it says something.

        Raises:
            LostError: it is not there any more.
        """
        try:
            return unpacked(self._connection.recv_bytes())
        except (EOFError, OSError) as error:
            raise LostError(ended(self._code())) from error

    def close(self) -> None:
        """Ends it, whatever it is doing."""
        self._connection.close()
        self._process.kill()
        self._process.wait()

    def _send(self, message: bytes) -> None:
        try:
            self._connection.send_bytes(message)
        except OSError as error:
            raise LostError(ended(self._code())) from error

    def _code(self) -> int | None:
        try:
            return self._process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            return None


def _written(data: bytes) -> int:
    """A file that has no name and holds `data`; its descriptor."""
    if sys.platform == "linux":
        descriptor = os.memfd_create("mlograph")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    with os.fdopen(os.dup(descriptor), "wb") as file:
        file.write(data)
    return descriptor
