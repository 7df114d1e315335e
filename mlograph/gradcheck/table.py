"""A report for a terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mlograph.gradcheck.report import Report, Row, UpperReport
from mlograph.gradcheck.text import NUMBERS, remarks, shown, title
from mlograph.terminal import printable_line


def show(report: Report, console: Console) -> None:
    """Print a report: the numbers in tables, the rest as in plain text."""
    for upper in report.uppers:
        console.print(_plain(title(report, upper)))
        console.print(_table(report, upper))
        for line in remarks(report, upper):
            console.print(_plain(line))


def _table(report: Report, upper: UpperReport) -> Table:
    table = Table()
    names, rows = shown(upper)
    for name in names:
        table.add_column(name, justify="right" if name in NUMBERS else "left")
    for row, cells in rows:
        style = _style(report, upper, row)
        table.add_row(*(Text(printable_line(cell), style=style) for cell in cells))
    return table


def _style(report: Report, upper: UpperReport, row: Row) -> str:
    """What agrees with the reference that counts is green; what the graph asks for is bold."""
    colour = "green" if row.error(upper.judged_by) <= report.tol else ""
    if row.configured and not upper.passed:
        colour = "red"
    return f"bold {colour}".strip() if row.configured else colour


def _plain(line: str) -> Text:
    return Text(printable_line(line))
