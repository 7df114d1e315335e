"""Whether worker processes may be tried, and are worth it."""

from __future__ import annotations

from math import inf
from pathlib import Path

from mlograph.children import cores
from mlograph.plan import Tasks
from mlograph.profiling.memory import HighestMemory
from mlograph.program import Program
from mlograph.tasks.distribution import number_of, obstacle

# Workers start in about 5 seconds, and may turn out to be no faster; the least that they were
# measured to save is a seventh of the time.
_LEAST_SECONDS = 60.0
# Each of them compiles for itself what this process has compiled.
_LEAST_SECONDS_COMPILED = 600.0

_MEMORY = Path("/proc/meminfo")
_LIMITS = Path("/sys/fs/cgroup")


def possible(window: Tasks, program: Program) -> bool:
    """Whether workers could do the loops of a window, and there are cores for several of them."""
    several = min(cores(), number_of(window)) > 1
    return several and not obstacle(window, program)


def against(window: Tasks, program: Program, seconds: float) -> str:
    """Why workers are not tried, in words; nothing if they are.

    Args:
        window: whose loops they are.
        program: of the run.
        seconds: that a window takes without workers.
    """
    left = seconds * _windows_left(window, program)
    compiles = any("compiled" in one.values() for one in program.compiling.chosen().values())
    if left < (_LEAST_SECONDS_COMPILED if compiles else _LEAST_SECONDS):
        return f"the rest of the run takes about {left:.2g} s without them"
    number = number_of(window)
    # A worker does the same loops, without the data.
    needed, free = number * HighestMemory().look().peak / 1e9, _free_memory()
    if needed > free:
        return f"{number} may need {needed:.2g} GB of memory, and {free:.2g} GB are free"
    return ""


def _windows_left(window: Tasks, program: Program) -> int:
    """After this one; each is an update of the problem above, whose warm-up is counted as well."""
    plan, upper = program.plan, program.problems[window.upper]
    total = upper.spec.warmup_steps + plan.rates[window.upper].updates * plan.periods
    return max(0, total - upper.updates - 1)


def _free_memory() -> float:
    """GB that further processes may have; infinite where nobody knows."""
    try:
        entries = (line.split() for line in _MEMORY.read_text().splitlines())
        free = next(int(words[1]) * 1024 for words in entries if words[0] == "MemAvailable:")
    except (OSError, StopIteration):
        return inf
    return min([free, *_free_of_group()]) / 1e9


def _free_of_group() -> list[int]:
    """What is left of the limit that a container has; nothing where there is none."""
    try:
        limit = int((_LIMITS / "memory.max").read_text())
        used = int((_LIMITS / "memory.current").read_text())
        entries = (line.split() for line in (_LIMITS / "memory.stat").read_text().splitlines())
        # Files that were read lie there until somebody needs the place.
        files = next(int(words[1]) for words in entries if words[0] == "inactive_file")
    except (OSError, StopIteration, ValueError):
        return []
    return [limit - used + files]
