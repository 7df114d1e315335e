"""Where the time and the memory of a run go: nothing is measured unless it is asked for."""

from __future__ import annotations

from mlograph.profiling.observer import Activity, Aside, Observer, aside, observed
from mlograph.profiling.profile import Profile
from mlograph.profiling.table import as_text
from mlograph.profiling.watch import Watch

__all__ = ["Activity", "Aside", "Observer", "Profile", "Watch", "as_text", "aside", "observed"]
