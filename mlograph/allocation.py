"""Memory that is kept for what comes next, instead of given back to the system each time.

Every update needs the memory of the last one again. Where tensors are some megabytes large, glibc
gives them back as soon as they are freed, and the system fills every page with zeros before it
gives it out again: a tenth of the time of a wide few-shot network, a quarter of that of several
tasks at once.
"""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Numbers of mallopt(3): less than the one is not given back, blocks from the other on are mapped
# one by one and never kept.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BELOW, _MAPPED_FROM = (1 << 31) - 1, 1 << 30
# Where glibc goes by itself in time, and the most that one before 2.35 takes.
_USUAL_TRIM, _USUAL_MAPPED = 1 << 26, 1 << 25

# Whoever sets one of these has the last word.
_VARIABLES = frozenset({"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"})

# One for each `kept` that has not ended.
_users: list[object] = []


@contextmanager
def kept() -> Iterator[None]:
    """Inside, this process keeps what it frees; at the end all is given back.

    Nothing happens where its C library is not glibc, or its environment says how that shall do.
    """
    keep()
    _users.append(None)
    try:
        yield
    finally:
        _users.pop()
        library = _glibc()
        if library is not None and not _users:
            library.mallopt(_MMAP_THRESHOLD, _USUAL_MAPPED)
            library.mallopt(_TRIM_THRESHOLD, _USUAL_TRIM)
            library.malloc_trim(0)


def keep() -> None:
    """From now on, for a process that does nothing else."""
    library = _glibc()
    if library is None:
        return
    # With the second alone, the first would stay as low as it is.
    if any(library.mallopt(_MMAP_THRESHOLD, most) for most in (_MAPPED_FROM, _USUAL_MAPPED)):
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BELOW)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux") or _VARIABLES & os.environ.keys():
        return None
    try:
        library = ctypes.CDLL(None)
        # The first is glibc's alone.
        _ = library.gnu_get_libc_version, library.mallopt, library.malloc_trim
    except (OSError, AttributeError):
        return None
    return library
