"""Inner loops, recorded as they run, so that they can be differentiated or run again."""

from __future__ import annotations

from mlograph.recording.link import Link
from mlograph.recording.loop import Recording
from mlograph.recording.steps import virtual_step

__all__ = ["Link", "Recording", "virtual_step"]
