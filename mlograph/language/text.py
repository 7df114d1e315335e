"""The text of a file or of one override, and the places in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from mlograph.errors import Fault, GraphError, Location, did_you_mean

MAX_BYTES = 2**20

UNPRINTABLE = re.compile(
    "[^\x09\x0a\x0d\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


@dataclass(frozen=True)
class Text:
    """A text with a name, such that every place in it can be shown.

    Attributes:
        name: the file, as messages name it.
        content: what is read.
        lines: the lines that messages show.
        line: the number of the first line.
        column: the column at which the first line of `content` begins.
    """

    name: str
    content: str
    lines: tuple[str, ...]
    line: int = 1
    column: int = 1

    def place(self, line: int, column: int) -> Location:
        """The location of a line and a column that both count from zero."""
        if line >= len(self.lines):  # the end of the text: shown behind its last line
            last = self.lines[-1] if self.lines else ""
            number = self.line + max(0, len(self.lines) - 1)
            return Location(self.name, number, len(last) + 1, last)
        first = self.column if line == 0 else 1
        return Location(self.name, self.line + line, first + column, self.lines[line])

    def at(self, index: int) -> Location:
        """The location of a character of `content`."""
        lines = self.content[:index].splitlines(keepends=True)
        if not lines or lines[-1].splitlines()[0] != lines[-1]:
            return self.place(len(lines), 0)
        return self.place(len(lines) - 1, len(lines[-1]))


def from_string(content: str, name: str) -> Text:
    """A text that is at hand.

    Raises:
        GraphError: it is too long, or has characters that no text has.
    """
    content = content.removeprefix("\ufeff")
    if len(content) > MAX_BYTES:
        raise GraphError([_refusal(name, f"larger than {MAX_BYTES // 2**20} MiB")])
    text = Text(name, content, tuple(content.splitlines()))
    found = UNPRINTABLE.search(content)
    if found:
        message = f"character U+{ord(found.group()):04X} cannot stand in a text"
        # Such a line is not shown: it could do anything to a terminal.
        place = text.at(found.start())
        bare = Location(place.file, place.line, place.column, "")
        raise GraphError([Fault((), message, "is this a text file?", bare)])
    return text


def from_file(path: str, name: str) -> Text:
    """The text of a file.

    Raises:
        GraphError: the file cannot be read, is too large, or is not UTF-8.
    """
    data = _read_bytes(path, name)
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise GraphError([_refusal(name, "not UTF-8 but UTF-16", "save it as UTF-8")])
    try:
        return from_string(data.decode("utf-8"), name)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        column = len(data[: error.start].rpartition(b"\n")[2].decode("utf-8", "replace")) + 1
        message = f"not UTF-8: byte 0x{data[error.start]:02X} begins no character"
        place = Location(name, line, column, "")
        raise GraphError([Fault((), message, "save it as UTF-8", place)]) from None


def _read_bytes(path: str, name: str) -> bytes:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise GraphError([_refusal(name, "there is no such file", _near_file(path))]) from None
    except IsADirectoryError:
        raise GraphError([_refusal(name, "a directory, not a file")]) from None
    except PermissionError:
        raise GraphError([_refusal(name, "this file may not be read")]) from None
    except (OSError, ValueError) as error:
        raise GraphError([_refusal(name, f"cannot be read: {error}")]) from None
    if len(data) > MAX_BYTES:
        raise GraphError([_refusal(name, f"larger than {MAX_BYTES // 2**20} MiB")])
    return data


def _near_file(path: str) -> str:
    folder = Path(path).parent
    names = [p.name for p in folder.glob("*.y*ml")] if folder.is_dir() else []
    hint = did_you_mean(Path(path).name, names)
    return hint if hint.startswith("did") else ""


def _refusal(name: str, message: str, hint: str = "") -> Fault:
    return Fault((), f"{name!r}: {message}", hint)
