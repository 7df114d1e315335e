"""The sources of a run, as a lane sees them; each implements `watch.Seat`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from mlograph.batches import IterableFeed
from mlograph.envs.protocol import Env


@final
@dataclass(frozen=True)
class EnvSeat:
    """The Env of a run."""

    source: Env
    begins: bool = False
    position: None = None

    def here(self) -> Any:
        """The batches of its next step."""
        return self.source.step()

    def go_to(self, state: Mapping[str, Any]) -> None:
        """Stand where a copy of it stood."""
        self.source.load_state_dict(state)


@final
@dataclass(frozen=True)
class IterableSeat:
    """A DataLoader or another iterable."""

    feed: IterableFeed

    @property
    def source(self) -> Any:
        """The iterable."""
        return self.feed.source

    @property
    def begins(self) -> bool:
        """Whether the last batch was the first of an epoch."""
        return self.feed.reading.begins

    @property
    def position(self) -> dict[str, Any]:
        """Where its reading stands."""
        return self.feed.reading.state_dict()

    def here(self) -> Any:
        """The next batch."""
        return self.feed.here()

    def go_to(self, state: Mapping[str, Any]) -> None:
        """Stand where a copy of it stood."""
        self.feed.reading.load_state_dict(state)
