"""Where a run is in its plan."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, final

from mlograph.plan import Executed, Plan, Step, Update


@final
@dataclass
class Progress:
    """The position of a run in its plan, its counted updates, and its clock.

    Attributes:
        plan: what is executed.
        executed: instructions since the beginning: the position in the plan.
        steps: updates of the counted problem.
        started: when the run began, on the clock of this process.
        ended: why it ended, in words; None before.
    """

    plan: Plan
    executed: int = 0
    steps: int = 0
    started: float = field(default_factory=time.monotonic)
    ended: str | None = None

    @property
    def elapsed(self) -> float:
        """Seconds since the run began, without those in which it was interrupted."""
        return time.monotonic() - self.started

    @property
    def coming(self) -> Executed:
        """The next instruction: of the prologue, and then of the period, again and again."""
        prologue, period = self.plan.prologue, self.plan.executed
        after = self.executed - len(prologue)
        return prologue[after] if after < 0 else period[after % len(period)]

    def advance(self) -> bool:
        """The coming instruction was carried out; whether it was a counted update."""
        counted = {Update(self.plan.counted), Step(self.plan.counted)}
        # Those of the prologue do not count.
        made = self.executed >= len(self.plan.prologue) and self.coming in counted
        self.executed += 1
        self.steps += made
        return made

    def state_dict(self) -> dict[str, Any]:
        """All of it but the plan."""
        return {
            "executed": self.executed,
            "steps": self.steps,
            "elapsed": self.elapsed,
            "ended": self.ended,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.executed, self.steps = state["executed"], state["steps"]
        self.started = time.monotonic() - state["elapsed"]
        self.ended = state["ended"]
