"""How much memory is in use, and how much was at most."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

import torch

_KIB = 1024
_STATUS = Path("/proc/self/status")
_CLEAR = Path("/proc/self/clear_refs")
# Written to the file above, it makes the kernel forget the highest use so far.
_FORGET = "5"


@dataclass(frozen=True)
class Use:
    """Bytes in use now, and at most since the last look."""

    now: int
    peak: int


class Gauge(Protocol):
    """Measures memory."""

    @property
    def what(self) -> str:
        """Whose memory it is, in words."""
        ...

    def look(self) -> Use:
        """The use now and the highest one since the last look."""
        ...


@final
class DeviceMemory:
    """What torch has allocated on a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    @property
    def what(self) -> str:
        """Whose memory it is, in words."""
        return f"tensors on {self._device}"

    def look(self) -> Use:
        """The use now and the highest one since the last look."""
        peak = torch.cuda.max_memory_allocated(self._device)
        torch.cuda.reset_peak_memory_stats(self._device)
        return Use(torch.cuda.memory_allocated(self._device), peak)


@final
class ProcessMemory:
    """What Linux keeps of this process in main memory (resident set)."""

    @property
    def what(self) -> str:
        """Whose memory it is, in words."""
        return "the process"

    def look(self) -> Use:
        """The use now and the highest one since the last look."""
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        _CLEAR.write_text(_FORGET)
        return Use(_kib(fields["VmRSS"]), _kib(fields["VmHWM"]))

    @classmethod
    def works(cls) -> bool:
        """Whether this system tells."""
        try:
            return cls().look().now > 0
        except (OSError, KeyError, ValueError):
            return False


@final
class HighestMemory:
    """The highest use of this process so far, where the system tells no more than that."""

    @property
    def what(self) -> str:
        """Whose memory it is, in words."""
        return "the process, at most until then"

    def look(self) -> Use:
        """The highest use, twice."""
        import resource  # noqa: PLC0415  (Windows has none)

        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        # macOS counts bytes, others count KiB.
        peak *= 1 if sys.platform == "darwin" else _KIB
        return Use(peak, peak)


def gauge_of(device: torch.device) -> Gauge | None:
    """What measures the memory that a run on `device` needs; None where nothing can."""
    if device.type == "cuda":
        return DeviceMemory(device)
    if ProcessMemory.works():
        return ProcessMemory()
    return None if sys.platform == "win32" else HighestMemory()


def _kib(text: str) -> int:
    return int(text.split(maxsplit=1)[0]) * _KIB
