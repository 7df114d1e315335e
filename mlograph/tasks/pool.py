"""Worker processes: started, told what to do, listened to and ended."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, MutableMapping, Sequence
from multiprocessing.connection import Connection, wait
from typing import Any, final

from mlograph.children import ended, started
from mlograph.tasks.messages import unpacked
from mlograph.tasks.refusal import GoneError
from mlograph.tasks.sharing import Block

# Compiling has no more of them either, nor processes of its own that would have to be ended.
_ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TORCHINDUCTOR_COMPILE_THREADS": "1",
}
_SECONDS_TO_END = 5.0


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
        GoneError: one cannot be started.
    """

    def __init__(self, count: int, block: Block, first: Sequence[bytes]) -> None:
        self.block = block
        self._workers: list[tuple[subprocess.Popen[bytes], Connection]] = []
        try:
            for _ in range(count):
                self._workers.append(started("mlograph.worker", (block.descriptor,), _ONE_THREAD))
        except OSError as error:
            self.close()
            raise GoneError(f"a worker process cannot be started: {error}") from error
        for number in range(count):
            for message in first:
                self.send(number, message)

    def __len__(self) -> int:
        return len(self._workers)

    def send(self, number: int, message: bytes) -> None:
        """Tell a worker something.

        Raises:
            GoneError: it is not there any more.
        """
        try:
            self._workers[number][1].send_bytes(message)
        except OSError as error:
            raise self._death(number) from error

    def listen(self, owed: MutableMapping[int, int]) -> Iterator[tuple[int, Any]]:
        """Messages of the workers as they come, with their numbers, until nobody owes one.

        A worker that owes no more when its message is given may be told something, and owe again.

        Args:
            owed: how many messages each of them owes; what has come is taken off.

        Raises:
            GoneError: one is not there any more.
        """
        while owed:
            connections = {self._workers[number][1]: number for number in owed}
            for ready in wait([*connections]):
                assert isinstance(ready, Connection)
                number = connections[ready]
                try:
                    message = unpacked(ready.recv_bytes())
                except (EOFError, OSError) as error:
                    raise self._death(number) from error
                owed[number] -= 1
                if not owed[number]:
                    del owed[number]
                yield number, message

    def close(self) -> None:
        """Ends all workers, whatever they are doing."""
        for process, connection in self._workers:
            connection.close()
            process.kill()
        for process, _ in self._workers:
            process.wait()
        self._workers = []

    def _death(self, number: int) -> GoneError:
        process = self._workers[number][0]
        try:
            code = process.wait(_SECONDS_TO_END)
        except subprocess.TimeoutExpired:
            code = None
        return GoneError(f"worker process {number + 1} of {len(self._workers)} {_ended(code)}")


def _ended(code: int | None) -> str:
    why = "; the system does that where memory runs out, and fewer 'workers' need less"
    return ended(code) + (why if code == -signal.SIGKILL else "")
