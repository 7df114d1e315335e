"""Memory that is kept for what comes next, instead of given back to the system each time.

Every update needs the memory of the last one again. Where tensors are some megabytes large, glibc
gives them back as soon as they are freed, and the system fills every page with zeros before it
gives it out again: a tenth of the time of a wide few-shot network, a quarter of that of several
tasks at once.
"""

from __future__ import annotations

import ctypes
import sys

# Blocks below the first are not mapped one by one; less than the second is not given back.
_MAPPED_FROM = 1 << 30
_KEPT_BELOW = (1 << 31) - 1

# Numbers of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3


def keep() -> None:
    """From now on this process keeps what it frees; nothing where its C library is not glibc."""
    library = _glibc()
    if library is not None:
        library.mallopt(_MMAP_THRESHOLD, _MAPPED_FROM)
        library.mallopt(_TRIM_THRESHOLD, _KEPT_BELOW)


def give_back() -> None:
    """Give the system what has been kept until now, where it can be."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL(None)
        # Only glibc has it.
        _ = library.gnu_get_libc_version
    except (OSError, AttributeError):
        return None
    return library
