"""The frame of a page, and the parts that several pages are made of."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from importlib.resources import files

from mlograph import charts
from mlograph.terminal import printable

# The policy keeps the page from reaching for anything outside, whatever stands in it.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def document(title: str, sections: Sequence[str]) -> str:
    """A whole page of the sections that are not empty.

    Characters that a browser or a terminal would obey, such as those that turn the direction of
    writing, are written out.
    """
    own = files("mlograph.report").joinpath("style.css").read_text("utf-8")
    return printable(
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>\n{charts.style()}{own}</style>\n</head>\n"
        '<body class="mlograph">\n' + "\n".join(filter(None, sections)) + "\n</body>\n</html>\n"
    )


def section(title: str, body: str) -> str:
    """A part of the page; nothing where there is nothing to show."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{body}\n</section>" if body else ""


def table(head: Sequence[str], rows: Sequence[Sequence[str]], own: int = -1) -> str:
    """A table of cells that are HTML already; row `own` stands out."""
    titles = "".join(f"<th>{cell}</th>" for cell in head)
    lines = [f'<div class="wide"><table>\n<tr>{titles}</tr>']
    for index, row in enumerate(rows):
        cells = "".join(f"<td>{cell}</td>" for cell in row[1:])
        kind = ' class="own"' if index == own else ""
        lines.append(f"<tr{kind}><th>{row[0]}</th>{cells}</tr>")
    return "\n".join([*lines, "</table></div>"])
