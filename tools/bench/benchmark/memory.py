"""The most memory that a process needed at once, and those that it started."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

_PROCESSES = Path("/proc")
_OWN = Path("/proc/self")


def begin(device: str) -> int:
    """Forget earlier peaks; bytes in use now. On a CPU all of each process counts."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    for process in _family(_OWN):
        (process / "clear_refs").write_text("5", encoding="ascii")
    return sum(_read(process, "VmRSS") for process in _family(_OWN))


def peak(device: str) -> int:
    """The most bytes in use at once since `begin`; 0 where this system does not tell.

    Of several processes it is the sum of what each needed at most.
    """
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return sum(_read(process, "VmHWM") for process in _family(_OWN))


def _family(process: Path) -> Iterator[Path]:
    """A process and all that it started, as folders of /proc; none on other systems."""
    if not (process / "status").exists():
        return
    yield process
    for task in (process / "task").iterdir():
        with suppress(OSError):
            for number in (task / "children").read_text(encoding="ascii").split():
                yield from _family(_PROCESSES / number)


def _read(process: Path, entry: str) -> int:
    with suppress(OSError):
        for line in (process / "status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{entry}:"):
                return 1024 * int(line.split()[1])
    return 0
