"""The report of a sweep as one HTML page: its runs, compared."""

from __future__ import annotations

from mlograph.campaign.folder import Folder
from mlograph.campaign.table import Table
from mlograph.report import compare
from mlograph.report.reading import is_run


def page(table: Table, folder: Folder) -> str:
    """The page as text; nothing where no run has begun.

    Names of runs lead to their own pages, which lie below the folder.
    """
    runs = [run for row in table.rows for run, _ in row.ended]
    paths = [folder.run(run) for run in runs if is_run(folder.run(run))]
    if not paths:
        return ""
    notes = [f"{run.name}: {why}" for run, why in table.unfinished]
    return compare(paths, folder.path, table.title, table.command, notes)
