"""What the page about a run shows, and the part of it that no other file of a run holds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from mlograph.loggers.protocol import Record
from mlograph.pictures import Picture

UNFINISHED = "not finished: it is still going on, or was killed"


@dataclass(frozen=True)
class Report:
    """Everything that the page shows.

    What is known before a run comes first; the rest has defaults.

    Attributes:
        name: of the graph.
        description: of the graph; may be empty.
        command: that repeats the run; may be empty.
        diagram: of the graph, as an SVG file; may be empty.
        plan: of the graph, as text.
        problems: their names, in the order of the file.
        environment: versions, device and threads, as text.
        uppers: the problems whose gradient holds a hypergradient.
        ended: why the run ended, in words.
        finished: whether it ended as it was meant to.
        steps: updates that were made, and `total` those that were asked for.
        seconds: wall-clock time.
        records: everything that was logged.
        learned: pictures of what was learned, by the problem or part that they show.
        profile: what `profile.json` holds, if the run was profiled.
        remarks: what is missing from the page, and why.
    """

    name: str
    description: str
    command: str
    diagram: bytes
    plan: str
    problems: tuple[str, ...]
    environment: str
    uppers: tuple[str, ...] = ()
    ended: str = UNFINISHED
    finished: bool = False
    steps: int = 0
    total: int = 0
    seconds: float = 0.0
    records: tuple[Record, ...] = ()
    learned: tuple[Picture, ...] = ()
    profile: Mapping[str, Any] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()


def dumped(report: Report) -> str:
    """`run.json`: what a run was, how it ended, and how far it came."""
    facts = {
        "name": report.name,
        "description": report.description,
        "command": report.command,
        "problems": [*report.problems],
        "uppers": [*report.uppers],
        "ended": report.ended,
        "finished": report.finished,
        "steps": report.steps,
        "total": report.total,
        "seconds": round(report.seconds, 3),
    }
    return json.dumps(facts, indent=1, ensure_ascii=False) + "\n"


def parsed(text: str) -> Report:
    """The report with those facts alone.

    Raises:
        ValueError: the text is something else.
    """
    try:
        facts = json.loads(text)
        seconds = float(facts["seconds"])
        if not isfinite(seconds):
            raise ValueError("the time is no number")
        return Report(
            name=str(facts["name"]),
            description=str(facts["description"]),
            command=str(facts["command"]),
            diagram=b"",
            plan="",
            problems=tuple(map(str, facts["problems"])),
            environment="",
            uppers=tuple(map(str, facts["uppers"])),
            ended=str(facts["ended"]),
            finished=bool(facts["finished"]),
            steps=int(facts["steps"]),
            total=int(facts["total"]),
            seconds=seconds,
        )
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"is not what a run wrote: {error}") from error
