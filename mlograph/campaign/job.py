"""What the process of one run is told."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Job:
    """What such a process is told.

    Attributes:
        graph: the graph file.
        overrides: of it.
        allow: packages that its components may come from.
        folder: of the run; if it is there, the run goes on from its newest checkpoint.
        outcome: the file that tells how the run ended; written last.
    """

    graph: str
    overrides: tuple[str, ...]
    allow: tuple[str, ...]
    folder: str
    outcome: str

    def text(self) -> str:
        """The job as one word of a command."""
        return json.dumps(asdict(self))

    @classmethod
    def of(cls, text: str) -> Job:
        """The job that `text` was made of."""
        data = json.loads(text)
        return cls(
            data["graph"],
            tuple(data["overrides"]),
            tuple(data["allow"]),
            data["folder"],
            data["outcome"],
        )
