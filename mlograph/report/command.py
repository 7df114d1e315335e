"""The command `mlograph report`."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Annotated

import typer

from mlograph.report.compare import compare
from mlograph.report.page import page
from mlograph.report.reading import read, runs_in
from mlograph.rundir import write_whole
from mlograph.terminal import printable

EXAMPLE = "Example: mlograph report runs/reweight -o comparison.html"

Runs = Annotated[
    list[Path],
    typer.Argument(metavar="RUN…", help="Directories of runs, or folders that hold such."),
]
Output = Annotated[
    Path | None,
    typer.Option(
        "--output",
        "-o",
        metavar="FILE",
        help="The page to write. By default report.html in the directory of a single run, and "
        "comparison.html in the folder that holds all of several.",
    ),
]


def report(runs: Runs, output: Output = None) -> None:
    """Write the page of a run again, or a page that compares several."""
    found = list(dict.fromkeys(run for path in runs for run in runs_in(path)))
    if len(found) == 1:
        target = output or found[0] / "report.html"
        _write(target, page(read(found[0]).report))
        return
    common = Path(os.path.commonpath([run.resolve().parent for run in found]))
    if common.is_relative_to(Path.cwd()):
        common = common.relative_to(Path.cwd())
    target = output or common / "comparison.html"
    words = ["mlograph", "report", *map(str, runs), *(["-o", str(output)] if output else [])]
    names = ", ".join(dict.fromkeys(run.resolve().parent.name for run in found))
    _write(target, compare(found, target.parent, f"{names}: {len(found)} runs", shlex.join(words)))


def _write(target: Path, text: str) -> None:
    write_whole(target, text)
    print(printable(str(target)), flush=True)
