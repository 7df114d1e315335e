"""Text from files, names and messages, made safe to print on a terminal."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""`text` with everything that a terminal would obey written out, as in `\x1b`.

    Line feeds stay; a tab becomes one space, so that a caret below it keeps its column.
    """
    return "\n".join(map(printable_line, text.replace("\t", " ").split("\n")))


def printable_line(text: str) -> str:
    r"""`printable`, on one line: line feeds and tabs are written out as `\n` and `\t`."""
    if text.isprintable():
        return text
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )
