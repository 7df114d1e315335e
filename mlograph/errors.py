"""Every error that is the user's to mend.

A check reports `Fault`s: what is wrong, and where in the document (a path of keys and indices).
Where the text of the document is known, `language.source.Source` turns a path into a `Location`.
All faults of a graph are raised at once, as one `GraphError`.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Location:
    """A place in a text: `line` and `column` count from 1; `text` is the line itself."""

    file: str
    line: int
    column: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.column}"


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong with a graph.

    Attributes:
        path: keys and indices that lead to the offending value, from the document's root.
        message: what is wrong, in one sentence, without a full stop.
        hint: what was probably meant, or what to write instead; empty where nothing is known.
        location: where the value stands in the user's text, where there is a text.
        on_key: the offence is the key at the end of `path`, not its value.
    """

    path: Path
    message: str
    hint: str = ""
    location: Location | None = None
    on_key: bool = False

    def __str__(self) -> str:
        place = [str(self.location)] if self.location else []
        path = [dotted(self.path)] if self.path else []
        line = ": ".join([*place, *path, self.message])
        if self.hint:
            line += f" ({self.hint})"
        if self.location is None or not self.location.text.strip():
            return line
        shown, indent = _excerpt(self.location.text, self.location.column - 1)
        return f"{line}\n    {shown}\n    {indent}^"


class MlographError(Exception):
    """A mistake that its reader can mend; the command line shows it without a traceback."""

    exit_code: ClassVar[int] = 2


class GraphError(MlographError):
    """A graph that cannot be used, with everything that is wrong in it."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        assert self.faults, "a GraphError needs a fault"
        super().__init__("\n".join(map(str, self.faults)))


class UsageError(MlographError):
    """A command or a call that cannot be carried out as it was written."""


class NumericError(MlographError):
    """Numbers went wrong during a run: a non-finite loss, gradient or hypergradient."""

    exit_code: ClassVar[int] = 3


class BusyError(UsageError):
    """Another process works on the same run or sweep."""


class StorageError(UsageError):
    """What belongs on a disk cannot be written there, or not be read again."""

    exit_code: ClassVar[int] = 4


class ProcessError(MlographError):
    """A process that a run needs cannot be started, or has ended."""

    exit_code: ClassVar[int] = 4


class Interruption(KeyboardInterrupt):
    """A signal ended a run, whose state was saved before.

    A KeyboardInterrupt, since nobody who catches the errors of one run means to go on after it.
    """

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


_WIDEST_LINE = 120
_MOST_NAMES = 1000
_CLOSE = 0.6


def _excerpt(text: str, index: int) -> tuple[str, str]:
    """The part of a line around `index`, and the blanks that put a caret under it."""
    start = 0
    if len(text) > _WIDEST_LINE:
        start = max(0, min(index - _WIDEST_LINE // 2, len(text) - _WIDEST_LINE))
    end = start + _WIDEST_LINE
    before, after = "…" if start else "", "…" if end < len(text) else ""
    # A tab stays a tab, so that the caret stands under its character in every terminal.
    blanks = "".join("\t" if char == "\t" else " " for char in before + text[start:index])
    return before + text[start:end] + after, blanks.ljust(index - start + len(before))


def dotted(path: Path) -> str:
    """`("edges", 0, "u2l")` as people write it: `edges[0].u2l`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += f".{step}" if text else step
    return text


def quoted(names: Iterable[str]) -> str:
    """`'a', 'b'`: names as messages list them."""
    return ", ".join(f"'{name}'" for name in names)


def near_names(name: str, known: Iterable[str]) -> list[str]:
    """Those of the `known` names that `name` may be a slip for, the nearest first."""
    names = _some(known)
    return difflib.get_close_matches(name, names, n=len(names) or 1, cutoff=_CLOSE)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A hint that names the nearest of the `known` names, or lists them where they are few."""
    names = _some(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=_CLOSE)
    if near:
        return f"did you mean '{near[0]}'?"
    if 0 < len(names) <= 12:
        return "known: " + ", ".join(names)
    return ""


def _some(names: Iterable[str]) -> list[str]:
    return sorted(set(itertools.islice(names, _MOST_NAMES)))
