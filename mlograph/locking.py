"""Folders that one process at a time may work in."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mlograph.errors import BusyError, StorageError

LOCK = "lock"

# Descriptors by which this process holds a lock.
_held: set[int] = set()


@contextmanager
def alone(folder: Path, what: str) -> Iterator[int | None]:
    """Nobody else works in a folder meanwhile, neither here nor in another process.

    The lock is one of the system's (flock) on the file `lock` of the folder: it ends with its
    process, even one that was killed, so that nothing must be cleaned up; the file stays. Forked
    workers of the process do not hold it.

    Args:
        folder: it exists.
        what: the folder is of, for the message.

    Yields:
        A descriptor; a process that inherits it holds the lock as well. None where the system, or
        its disk, has no such locks: then nothing is locked.

    Raises:
        BusyError: somebody does already.
        StorageError: the file cannot be made.
    """
    descriptor = _opened(folder / LOCK)
    try:
        locked = _locked(descriptor, folder, what)
    except BusyError:
        os.close(descriptor)
        raise
    _held.add(descriptor)
    try:
        yield descriptor if locked else None
    finally:
        # A forked process has closed it already, and may use its number for something else.
        if descriptor in _held:
            _held.discard(descriptor)
            os.close(descriptor)


def _opened(path: Path) -> int:
    try:
        # Not emptied, since another process may hold it.
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise StorageError(f"{path}: cannot be written: {error.strerror or error}") from error


def _locked(descriptor: int, folder: Path, what: str) -> bool:
    """Whether the lock is held now; the file tells people by whom."""
    try:
        from fcntl import LOCK_EX, LOCK_NB, flock  # noqa: PLC0415

        flock(descriptor, LOCK_EX | LOCK_NB)
    except BlockingIOError:
        message = f"{folder}: another process{_holder(descriptor)} is working on this {what}"
        raise BusyError(f"{message}; wait until it has ended") from None
    except (ImportError, OSError):
        return False
    # On a full disk nobody is told who holds it.
    with suppress(OSError):
        os.truncate(descriptor, 0)
        os.write(descriptor, str(os.getpid()).encode())
    return True


def _holder(descriptor: int) -> str:
    """The number of the process that took the lock; nothing where only those it began hold it."""
    try:
        number = int(os.read(descriptor, 20))
        os.kill(number, 0)
    except (ValueError, OverflowError, OSError):
        return ""
    return f" ({number})"


def _let_go() -> None:
    """What a forked process does: it must not hold on when the one that forked it is killed."""
    while _held:
        os.close(_held.pop())


if os.name == "posix":
    os.register_at_fork(after_in_child=_let_go)
