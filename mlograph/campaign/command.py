"""The command `mlograph sweep`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from mlograph.campaign.folder import Folder, Request
from mlograph.campaign.preparation import MOST_RUNS, Prepared, prepare
from mlograph.campaign.sweep import REPORT, SweepResult, again, carried_out, folder_for
from mlograph.campaign.table import Table
from mlograph.errors import Interruption, UsageError
from mlograph.terminal import printable, printable_line

if TYPE_CHECKING:
    from rich.table import Table as RichTable

EXAMPLE = "Example: mlograph sweep graph.yaml engine.seed=0..4 problems.inner.unroll_steps=1,5,10"

GraphFile = Annotated[
    Path | None, typer.Argument(metavar="GRAPH", help="A graph file; none with --resume.")
]
Changes = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="CHANGES",
        help="a=1,5,10 lists values; a=0..4 and a=0..20..5 count; a=1e-4..1e-1:log and "
        "a=0.0..0.9:uniform are drawn from, a=1e-4..1e-1:log:4 takes four of them; a=1, +a=1 and "
        "~a are for all runs.",
    ),
]
Output = Annotated[
    Path, typer.Option("--output", "-o", help="Where NAME/sweep-TIME is made, or found again.")
]
Jobs = Annotated[
    int | None,
    typer.Option(
        "--jobs", "-j", min=1, help="Runs at a time, each with one thread; by default all cores."
    ),
]
Draws = Annotated[
    int | None,
    typer.Option(
        "--random", metavar="N", help="Draw N settings; each is run with all values of engine.seed."
    ),
]
DrawSeed = Annotated[int, typer.Option("--random-seed", min=0, help="Of what is drawn.")]
Trials = Annotated[
    int | None,
    typer.Option("--optuna", metavar="N", help="Let Optuna choose N settings by --metric."),
]
Metric = Annotated[
    str, typer.Option("--metric", help="A number that runs report; the best settings come first.")
]
Direction = Annotated[str, typer.Option("--direction", help="Which way it is better: max or min.")]
Resume = Annotated[
    Path | None,
    typer.Option(
        "--resume", metavar="SWEEP", help="Go on with the sweep of this folder, as it was asked."
    ),
]
Fresh = Annotated[
    bool, typer.Option("--fresh", help="Begin anew even if the same sweep was begun before.")
]
MostRuns = Annotated[int, typer.Option("--max-runs", min=1, help="More are refused.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Name the runs, and make none.")]
Allowed = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="PACKAGE", help="Let components come from it as well."),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]


def sweep(
    graph: GraphFile = None,
    changes: Changes = None,
    output: Output = Path("runs"),
    jobs: Jobs = None,
    random: Draws = None,
    random_seed: DrawSeed = 0,
    optuna: Trials = None,
    metric: Metric = "",
    direction: Direction = "max",
    resume: Resume = None,
    fresh: Fresh = False,
    max_runs: MostRuns = MOST_RUNS,
    dry_run: DryRun = False,
    allow: Allowed = None,
    quiet: Quiet = False,
) -> None:
    """Run a graph with many values, a few runs at a time, and compare what they come to.

    The same command again goes on: finished runs are kept, interrupted ones go on from their
    checkpoints, failed ones begin anew. Ends with the worst exit code of the runs.
    """
    if direction not in ("min", "max"):
        raise UsageError(f"--direction {direction}: max or min")
    if resume is not None:
        if graph is not None:
            raise UsageError("--resume takes a sweep as it was asked for: give no graph")
        prepared, folder = again(resume, allow or ())
    elif graph is None:
        raise UsageError("no graph file given")
    else:
        request = Request(
            graph=str(graph),
            words=tuple(changes or ()),
            allow=tuple(allow or ()),
            draws=random,
            draw_seed=random_seed,
            trials=optuna,
            metric=metric,
            direction="min" if direction == "min" else "max",
        )
        prepared = prepare(request, max_runs)
    if dry_run:
        _list(prepared)
        return
    if resume is None:
        folder = folder_for(prepared, output, fresh=fresh)
    _carry_out(prepared, folder, jobs, quiet=quiet)


def _carry_out(prepared: Prepared, folder: Folder, jobs: int | None, *, quiet: bool) -> None:
    for fault in prepared.warnings:
        _print(f"warning: {fault}", sys.stderr)
    tell = None if quiet else _print
    try:
        result = carried_out(prepared, folder, jobs, quiet=quiet, tell=tell)
    except Interruption as stopped:
        _print(str(stopped), sys.stderr)
        raise typer.Exit(stopped.exit_code) from None
    if not quiet:
        _conclude(result)
    for run, why in result.table.unfinished:
        _print(f"{run.name}: {why}", sys.stderr)
    if result.code:
        raise typer.Exit(result.code)


def _list(prepared: Prepared) -> None:
    """Names the runs; with Optuna, only those values are known that are listed."""
    if prepared.request.trials is not None:
        _print(f"{prepared.total} runs, with values that Optuna chooses")
        return
    for runs in prepared.runs:
        for run in runs:
            _print(run.name)


def _conclude(result: SweepResult) -> None:
    from rich.console import Console  # noqa: PLC0415

    # A file or a pipe is as wide as need be.
    width = None if sys.stdout.isatty() else 10_000
    console = Console(file=sys.stdout, width=width, highlight=False, markup=False, emoji=False)
    console.print(_shown(result.table))
    _print(result.table.summary)
    report = result.directory / REPORT
    _print(str(report if report.exists() else result.directory))


def _shown(table: Table) -> RichTable:
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    rows = [table.cells(row) for row in table.rows]
    shown = [i for i, title in enumerate(table.head) if title or any(row[i] for row in rows)]
    drawn = RichTable(box=None, pad_edge=False)
    varied = len(table.axes.varied)
    for index in shown:
        title = Text(printable_line(table.head[index]))
        drawn.add_column(title, justify="left" if index < varied else "right")
    for row in rows:
        drawn.add_row(*(Text(printable_line(row[index])) for index in shown))
    return drawn


def _print(text: str, stream: TextIO | None = None) -> None:
    print(printable(text), file=stream or sys.stdout, flush=True)
