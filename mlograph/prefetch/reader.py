"""A process that reads ahead from one source, which it has a copy of."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from multiprocessing.connection import Connection
from queue import SimpleQueue
from typing import Any, Protocol, assert_never, final

import torch

from mlograph.blame import blame
from mlograph.children import import_local, leave_with
from mlograph.envs.learn2learn_import import import_learn2learn
from mlograph.envs.protocol import Env
from mlograph.errors import MlographError, UsageError
from mlograph.prefetch.chance import Chance, States, moved
from mlograph.prefetch.messages import (
    Drawn,
    Ended,
    Failed,
    Follow,
    Followed,
    Go,
    More,
    Ready,
    Setup,
    Source,
    Useless,
)
from mlograph.prefetch.packing import packed, unpacked
from mlograph.readings import Reading, fingerprint


def main(parent: int, channel: int, blob: int) -> None:
    """Reads what it is told to until nobody is there to tell it anything.

    Args:
        parent: the process that started this one.
        channel: descriptor of a socket to it.
        blob: descriptor of a file with the source in it, packed.
    """
    threading.Thread(target=leave_with, args=(parent,), daemon=True).start()
    connection = Connection(channel)
    # What is ready and has not been taken shall not keep the next from becoming ready.
    outbox: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=_post, args=(connection, outbox), daemon=True).start()
    try:
        files, setup = unpacked(connection.recv_bytes()), unpacked(connection.recv_bytes())
        made = _made(files, setup, blob)
        if isinstance(made, Useless):
            outbox.put(packed(made))
            connection.recv_bytes()
            return
        outbox.put(packed(Ready()))
        made.serve(connection, outbox)
    except (EOFError, OSError):
        os._exit(0)


def _post(connection: Connection, outbox: SimpleQueue[bytes]) -> None:
    try:
        while True:
            connection.send_bytes(outbox.get())
    except OSError:
        os._exit(0)


def _made(files: Mapping[str, str], setup: Setup, blob: int) -> Reader | Useless:
    """A reader, what is printed meanwhile being the run's to print."""
    try:
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            if setup.learn2learn:
                import_learn2learn()
            for name, file in files.items():
                import_local(name, file)
            torch.set_num_threads(setup.threads)
            torch.set_float32_matmul_precision(setup.precision)
            torch.use_deterministic_algorithms(setup.deterministic)
            torch.set_default_dtype(setup.dtype)
            with open(blob, "rb") as source:
                source.seek(0)
                return Reader(unpacked(source.read()))
    except Exception as error:
        return Useless(f"{type(error).__name__}: {error}")


class Copy(Protocol):
    """A source in this process."""

    def draw(self) -> Any:
        """The next batch, or batches.

        Raises:
            StopIteration: the epoch is over.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        ...


@dataclass(frozen=True)
class EnvCopy:
    """An Env; implements `Copy`."""

    env: Env

    def draw(self) -> Any:
        """The batches of the next step."""
        return self.env.step()

    def state_dict(self) -> dict[str, Any]:
        """Where it stands."""
        return self.env.state_dict()


@final
class Reader:
    """Reads from a source, and tells what it read.

    Attributes:
        wanted: how many batches may be made ready; none before it is said from which states.
    """

    def __init__(self, source: Source) -> None:
        self._place = source.place
        self._chance = Chance(source.source if source.position is not None else None)
        self._copy: Copy = EnvCopy(source.source)
        if source.position is not None:
            reading = Reading(source.source, source.place)
            reading.load_state_dict(source.position)
            self._copy = reading
        self.wanted = 0
        self._going = False

    def serve(self, connection: Connection, outbox: SimpleQueue[bytes]) -> None:
        """Do what is asked for, and what nobody has to ask for, for ever."""
        while True:
            while not self.wanted or connection.poll():
                answer = self.heed(unpacked(connection.recv_bytes()))
                if answer is not None:
                    outbox.put(answer)
            outbox.put(self.ahead())

    def heed(self, message: Follow | Go | More) -> bytes | None:
        """Do what is asked for; the answer, packed, if there is one."""
        match message:
            case Follow():
                return self._follow(message)
            case Go():
                self._chance.set(message.states)
                self.wanted, self._going = message.ahead, True
            case More():
                self.wanted += self._going
            case _:
                assert_never(message)
        return None

    def _follow(self, message: Follow) -> bytes:
        batch = None
        try:
            with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
                for states in message.draws:
                    self._chance.set(states)
                    batch = self._drawn()
        except Exception as error:
            return packed(Useless(f"there it fails: {type(error).__name__}: {error}"))
        return packed(Followed(fingerprint(batch)))

    def _drawn(self) -> Any:
        try:
            return self._copy.draw()
        except StopIteration:
            return self._copy.draw()

    def ahead(self) -> bytes:
        """One more batch, or why there is none; packed."""
        out, err = io.StringIO(), io.StringIO()
        before = self._chance.states()
        self.wanted -= 1
        with redirect_stdout(out), redirect_stderr(err):
            batch, failure = self._tried()
        after = self._chance.states()
        there = _between(before, after)
        printed = (out.getvalue(), err.getvalue())
        if failure is not None:
            self.wanted, self._going = 0, False
            if isinstance(failure, StopIteration) and not there and printed == ("", ""):
                return packed(Ended())
            return packed(Failed(there, _told(failure, self._place), printed))
        try:
            return packed(Drawn(batch, there, packed(self._copy.state_dict()), printed))
        except Exception:
            # The run reads it by itself.
            self.wanted, self._going = 0, False
            return packed(Failed({}, None, printed))

    def _tried(self) -> tuple[Any, Exception | None]:
        try:
            return self._copy.draw(), None
        except Exception as error:
            return None, error


def _between(before: States, after: States) -> dict[int, tuple[Any, Any]]:
    return {number: (before[number], after[number]) for number in moved(before, after)}


def _told(error: Exception, place: str) -> bytes | None:
    """What the run would say of an error; None where it does not survive the way there."""
    if isinstance(error, StopIteration):
        return None
    said = error if isinstance(error, MlographError) else UsageError(f"{place}: {blame(error)}")
    try:
        data = packed(said)
        return data if str(unpacked(data)) == str(said) else None
    except Exception:
        return None
