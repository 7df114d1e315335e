"""Worker processes: started, told what to do, listened to and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, final

from mlograph.children import ended, started
from mlograph.errors import ProcessError
from mlograph.tasks.messages import unpacked
from mlograph.tasks.sharing import Block

# Compiling has no more of them either, nor processes of its own that would have to be ended.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}
_SECONDS_TO_END = 5.0


def cores() -> int:
    """How many processor cores this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@final
class Pool:
    """Some workers that share memory with this process.

    A worker is a Python process of its own with one thread for its numbers. It ends when this
    process does, however that ends; a terminal's Ctrl-C does not reach it.

    Args:
        count: how many.
        block: the shared memory.
        first: what each of them is told first.

    Raises:
        ProcessError: one cannot be started.
    """

    def __init__(self, count: int, block: Block, first: Sequence[bytes]) -> None:
        self.block = block
        self._workers: list[tuple[subprocess.Popen[bytes], Connection]] = []
        try:
            for _ in range(count):
                self._workers.append(started("mlograph.worker", (block.descriptor,), _ONE_THREAD))
        except OSError as error:
            self.close()
            raise ProcessError(f"a worker process cannot be started: {error}") from error
        for number in range(count):
            for message in first:
                self.send(number, message)

    def __len__(self) -> int:
        return len(self._workers)

    def send(self, number: int, message: bytes) -> None:
        """Tell a worker something.

        Raises:
            ProcessError: it is not there any more.
        """
        try:
            self._workers[number][1].send_bytes(message)
        except OSError as error:
            raise self._death(number) from error

    def listen(self, expected: Mapping[int, int]) -> Iterator[Any]:
        """Messages of the workers as they come, until there were so many of each.

        Raises:
            ProcessError: one is not there any more.
        """
        left = {number: count for number, count in expected.items() if count}
        while left:
            connections = {self._workers[number][1]: number for number in left}
            for ready in wait([*connections]):
                assert isinstance(ready, Connection)
                number = connections[ready]
                try:
                    message = unpacked(ready.recv_bytes())
                except (EOFError, OSError) as error:
                    raise self._death(number) from error
                left[number] -= 1
                if not left[number]:
                    del left[number]
                yield message

    def close(self) -> None:
        """Ends all workers, whatever they are doing."""
        for process, connection in self._workers:
            connection.close()
            process.kill()
        for process, _ in self._workers:
            process.wait()
        self._workers = []

    def _death(self, number: int) -> ProcessError:
        process = self._workers[number][0]
        try:
            code = process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            code = None
        which = f"worker process {number + 1} of {len(self._workers)}"
        return ProcessError(
            f"engine.execution.tasks: {which} {_ended(code)} (write sequential to do without)"
        )


def _ended(code: int | None) -> str:
    why = "; the system does that where memory runs out, and fewer 'workers' need less"
    return ended(code) + (why if code == -signal.SIGKILL else "")
