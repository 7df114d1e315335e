"""The most memory that a process needed at once."""

from __future__ import annotations

from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")


def begin(device: str) -> int:
    """Forget earlier peaks; bytes in use now. On a CPU all of the process counts."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated()
    if not _STATUS.exists():
        return 0
    _CLEAR.write_text("5", encoding="ascii")
    return _read("VmRSS")


def peak(device: str) -> int:
    """The most bytes in use at once since `begin`; 0 where this system does not tell."""
    if device == "cuda":
        return torch.cuda.max_memory_allocated()
    return _read("VmHWM") if _STATUS.exists() else 0


def _read(entry: str) -> int:
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith(f"{entry}:"):
            return 1024 * int(line.split()[1])
    return 0
