"""Inner loops, recorded as they run, so that they can be differentiated or run again."""

from __future__ import annotations

from mlograph.recording.link import Link
from mlograph.recording.loop import Recording
from mlograph.recording.steps import Pass, Point, Read, Record, virtual_step
from mlograph.recording.tapes import Kept

# What the state of a recording is made of.
PARTS = (Kept, Pass, Point, Read, Record)

__all__ = ["PARTS", "Link", "Recording", "virtual_step"]
