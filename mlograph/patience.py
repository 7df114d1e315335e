"""What a run makes of its validations: whether one is the best so far, and whether to stop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any, Literal, final

from mlograph.errors import UsageError, did_you_mean
from mlograph.language.spec import EarlyStoppingSpec, EngineSpec


@final
@dataclass
class Best:
    """The best value of a metric so far.

    Attributes:
        metric: its name in a validation.
        place: where the graph names it, for messages.
        mode: which way is better.
        value: so far; None before the first.
    """

    metric: str
    place: str
    mode: Literal["min", "max"]
    value: float | None = None

    @property
    def name(self) -> str:
        """The metric as the validator names it."""
        return self.metric.removeprefix("validation.")

    def improved(self, values: Mapping[str, float], least: float = 0.0) -> bool:
        """Take the values of a validation; whether they are better by more than `least`.

        Raises:
            UsageError: the metric is not among them.
        """
        if self.name not in values:
            hint = did_you_mean(self.name, values)
            raise UsageError(f"{self.place}: no '{self.name}' in validation ({hint})")
        sign = 1.0 if self.mode == "max" else -1.0
        before = -inf if self.value is None else sign * self.value + least
        if sign * values[self.name] > before:
            self.value = values[self.name]
            return True
        return False


@final
class Patience:
    """Counts validations without an improvement."""

    def __init__(self, spec: EarlyStoppingSpec) -> None:
        self.spec = spec
        self._best = Best(spec.metric, "engine.early_stopping.metric", spec.mode)
        self._waited = 0

    def exhausted(self, values: Mapping[str, float]) -> bool:
        """Take the values of a validation; whether to stop."""
        improved = self._best.improved(values, self.spec.min_delta)
        self._waited = 0 if improved else self._waited + 1
        return self._waited >= self.spec.patience

    def state_dict(self) -> dict[str, Any]:
        """The best value, and validations since then."""
        return {"best": self._best.value, "waited": self._waited}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._best.value, self._waited = state["best"], state["waited"]


def best_of(engine: EngineSpec) -> Best | None:
    """What tells the best checkpoint; None where nothing does."""
    spec, early = engine.checkpoint, engine.early_stopping
    if spec.best is not None:
        return Best(spec.best, "engine.checkpoint.best", spec.mode)
    if early is not None:
        return Best(early.metric, "engine.early_stopping.metric", early.mode)
    return None
