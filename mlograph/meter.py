"""Averages of what a problem measures between two logs, without waiting for the device."""

from __future__ import annotations

from collections.abc import Mapping
from math import isnan
from typing import Any, final

from torch import Tensor


@final
class Meter:
    """Running means and counts by name; values stay tensors until they are read."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor | float] = {}
        self._counts: dict[str, int] = {}
        self._latest: dict[str, Tensor | float] = {}
        self._events: dict[str, int] = {}

    def add(self, name: str, value: Tensor | float) -> None:
        """Take one more value of `name`; NaN stands for `unknown` and is left out."""
        if isinstance(value, float) and isnan(value):
            return
        self._sums[name] = self._sums.get(name, 0.0) + value
        self._counts[name] = self._counts.get(name, 0) + 1
        self._latest[name] = value

    def extend(self, name: str, values: Tensor) -> None:
        """Take several more values of `name`, (n,)."""
        self._sums[name] = self._sums.get(name, 0.0) + values.sum()
        self._counts[name] = self._counts.get(name, 0) + len(values)
        self._latest[name] = values[-1]

    def count(self, name: str) -> None:
        """One more event of this name."""
        self._events[name] = self._events.get(name, 0) + 1

    def latest(self, name: str) -> Tensor | float:
        """The last value of `name`; it stays known after a flush. NaN if there was none."""
        return self._latest.get(name, float("nan"))

    def state_dict(self) -> dict[str, Any]:
        """All that was measured."""
        return {
            "sums": dict(self._sums),
            "counts": dict(self._counts),
            "latest": dict(self._latest),
            "events": dict(self._events),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
        self._latest, self._events = dict(state["latest"]), dict(state["events"])

    def drain(self) -> dict[str, Any]:
        """All that was measured since the last flush, which is forgotten as after a flush."""
        taken = self.state_dict()
        self._sums, self._counts, self._events = {}, {}, {}
        return taken

    def absorb(self, taken: Mapping[str, Any]) -> None:
        """Take over what another one gave by `drain`, as if it had been measured here."""
        for name, total in taken["sums"].items():
            self._sums[name] = self._sums.get(name, 0.0) + total
            self._counts[name] = self._counts.get(name, 0) + taken["counts"][name]
        self._latest.update(taken["latest"])
        for name, number in taken["events"].items():
            self._events[name] = self._events.get(name, 0) + number

    def flush(self) -> dict[str, float]:
        """The means, and the numbers of events, since the last flush."""
        means = {name: float(total) / self._counts[name] for name, total in self._sums.items()}
        found = means | {name: float(number) for name, number in self._events.items()}
        self._sums, self._counts, self._events = {}, {}, {}
        return found
