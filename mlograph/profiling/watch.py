"""What is asked of a run besides its results."""

from __future__ import annotations

import platform
from collections.abc import Callable
from functools import partial
from typing import final

import torch

from mlograph.profiling.memory import gauge_of
from mlograph.profiling.observer import Aside, Observer
from mlograph.profiling.profile import Profile
from mlograph.profiling.stopwatch import Listener, Stopwatch, Timed
from mlograph.profiling.table import seconds


@final
class Watch:
    """Tells each instruction as it is done, sums them up, or both.

    Args:
        tell: is given a line for each.
        profile: measure time and memory by instruction.

    Attributes:
        profile: the sums, if they were asked for; complete when the run is over.
    """

    def __init__(self, tell: Callable[[str], None] | None = None, *, profile: bool = False) -> None:
        self._tell = tell
        self.profile = Profile() if profile else None

    def observer(self, device: torch.device) -> Observer | None:
        """What a run on `device` shall tell; None if it need not tell anything."""
        listeners: list[Listener] = []
        if self._tell is not None:
            listeners.append(partial(_told, self._tell))
        gauge = None
        if self.profile is not None:
            gauge = gauge_of(device)
            self.profile.device = _named(device)
            self.profile.measured = gauge.what if gauge is not None else ""
            listeners.append(self.profile.note)
        if not listeners:
            return None
        wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else None
        return Stopwatch(listeners, gauge, wait)


def _told(tell: Callable[[str], None], timed: Timed) -> None:
    if timed.activity is Aside.RUN or timed.activity is Aside.LOG:
        return
    if isinstance(timed.activity, Aside):
        tell(f"{timed.activity.value}  {seconds(timed.seconds)}")
    elif timed.aside is Aside.RUN:
        indent = "  " * (timed.depth - 1)
        tell(f"{indent}{timed.activity}  {seconds(timed.seconds)}")


def _named(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{device} ({torch.cuda.get_device_name(device)})"
    threads = torch.get_num_threads()
    return f"{device} ({platform.machine()}, {threads} thread{'s' if threads != 1 else ''})"
