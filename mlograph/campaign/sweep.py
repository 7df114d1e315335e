"""A sweep from its command to its table."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mlograph.campaign.folder import (
    Folder,
    Request,
    create,
    earlier,
    read_request,
    write_request,
)
from mlograph.campaign.outcome import Outcome
from mlograph.campaign.pool import Pool, Source, View
from mlograph.campaign.preparation import MOST_RUNS, Prepared, completed, prepare
from mlograph.campaign.search import TRIALS, Listed, Search
from mlograph.campaign.settings import Run
from mlograph.campaign.table import Table, as_csv, as_markdown
from mlograph.children import cores
from mlograph.errors import Interruption, UsageError
from mlograph.rundir import write_whole

REPORT = "report.html"


@dataclass(frozen=True)
class SweepResult:
    """The outcome of a sweep.

    Attributes:
        directory: the sweep's folder.
        runs: all runs, in order.
        outcomes: how they ended, by name.
        table: what they came to.
    """

    directory: Path
    runs: tuple[Run, ...]
    outcomes: dict[str, Outcome]
    table: Table

    @property
    def code(self) -> int:
        """The worst exit code of its runs."""
        return max((outcome.code for outcome in self.outcomes.values()), default=0)


def conduct(
    prepared: Prepared, folder: Folder, jobs: int, view: View
) -> tuple[SweepResult, KeyboardInterrupt | None]:
    """Makes all runs that are not finished, and writes what all of them came to.

    Returns:
        The result, and the interruption that ended the sweep early, if one did.
    """
    stopped: KeyboardInterrupt | None = None
    with folder.held() as lock:
        pool = Pool(folder, prepared.request, jobs, view, lock)
        try:
            pool.work(_source(prepared, folder))
        except KeyboardInterrupt as error:
            stopped = error
        finally:
            result = _result(prepared, folder, pool)
            _write(folder, result.table)
    return result, stopped


def sweep(  # noqa: PLR0913 — every option of the command is a parameter
    graph: str | os.PathLike[str],
    changes: Sequence[str],
    *,
    output: str | os.PathLike[str] = "runs",
    jobs: int | None = None,
    random: int | None = None,
    random_seed: int = 0,
    optuna: int | None = None,
    metric: str = "",
    direction: Literal["min", "max"] = "max",
    allow: Sequence[str] = (),
    max_runs: int = MOST_RUNS,
    fresh: bool = False,
    quiet: bool = False,
) -> SweepResult:
    """Runs a graph many times with different values, each run in a process of its own.

    If the same sweep was begun before in `output`, it goes on: runs that are finished are kept,
    interrupted ones go on from their checkpoints, failed ones begin anew.

    Args:
        graph: the graph file.
        changes: overrides as `load` takes them, with several values: `engine.seed=0..4`,
            `problems.inner.unroll_steps=1,5,10`, `problems.outer.optimizer.lr=1e-4..1e-1:log`.
        output: where the folder `NAME/sweep-TIME` is made.
        jobs: processes at a time; by default as many as there are cores for their threads.
        random: so many settings are drawn; by default all combinations are run.
        random_seed: of the draws.
        optuna: so many settings are chosen by Optuna, to make `metric` better.
        metric: a number that runs report, by which the table is ordered.
        direction: which way it is better, `min` or `max`.
        allow: packages that components may come from, besides the usual ones.
        max_runs: more are refused.
        fresh: begin anew even if the same sweep was begun before.
        quiet: show no progress.

    Raises:
        GraphError: an axis, or a run, is wrong; nothing was run.
        Interruption: Ctrl-C or SIGTERM came; all runs have saved their states.
        StorageError: something cannot be written.
        UsageError: something cannot be carried out as it was asked for.
    """
    if isinstance(changes, str) or isinstance(allow, str):
        raise UsageError("changes and allow are lists of texts, not one text")
    request = Request(
        os.fspath(graph), tuple(changes), tuple(allow), random, random_seed, optuna, metric,
        direction,
    )  # fmt: skip
    prepared = prepare(request, max_runs)
    folder = folder_for(prepared, Path(output), fresh=fresh)
    return carried_out(prepared, folder, jobs, quiet=quiet)


def folder_for(prepared: Prepared, output: Path, *, fresh: bool) -> Folder:
    """The folder of the same sweep, if it was begun before; else a new one."""
    found = None if fresh else earlier(output, prepared.name, prepared.identity)
    return found or create(output, prepared.name)


def again(directory: Path, allow: Sequence[str]) -> tuple[Prepared, Folder]:
    """The sweep of a folder.

    Raises:
        UsageError: it is none, or its graph is not what it was.
    """
    request, identified = read_request(directory, allow)
    prepared = prepare(request, sys.maxsize)
    if prepared.identity != identified:
        message = f"{directory}: the graph, or a Python file beside it, has changed since"
        raise UsageError(f"{message}; to begin anew: {request.command}")
    return prepared, Folder(directory)


def carried_out(
    prepared: Prepared,
    folder: Folder,
    jobs: int | None,
    *,
    quiet: bool,
    tell: Callable[[str], None] | None = None,
) -> SweepResult:
    """`conduct`, shown as it goes on.

    Args:
        prepared: the sweep.
        folder: of it.
        jobs: processes at a time.
        quiet: show nothing.
        tell: called with what is about to be done.

    Raises:
        Interruption: Ctrl-C or SIGTERM came.
    """
    runs = [run for group in prepared.runs for run in group]
    threads = max((run.threads for run in runs), default=1)
    jobs = min(jobs or max(1, cores() // threads), max(1, prepared.total))
    listed = runs if prepared.request.trials is None else []
    write_request(folder, prepared.request, prepared.identity, prepared.axes, listed)
    if tell is not None:
        for line in _plan(prepared, folder, jobs):
            tell(line)
    with _view(prepared.total, quiet=quiet) as view:
        result, stopped = conduct(prepared, folder, jobs, view)
    if stopped is not None:
        name = str(stopped) or "SIGINT"
        finished = sum(outcome.finished for outcome in result.outcomes.values())
        message = f"stopped by {name} with {finished} of {prepared.total} runs finished; go on with"
        raise Interruption(f"{message}: {folder.command}", 143 if name == "SIGTERM" else 130)
    return result


def _plan(prepared: Prepared, folder: Folder, jobs: int) -> Iterator[str]:
    """What is about to be done, in words."""
    runs = [run for group in prepared.runs for run in group]
    before = [folder.outcome(run) for run in runs] if prepared.request.trials is None else []
    finished = sum(each is not None and each.finished for each in before)
    failed = sum(each is not None and not each.finished for each in before)
    begun = sum(folder.run(run).is_dir() for run in runs) - finished - failed if before else 0
    threads = max((run.threads for run in runs), default=1)
    each = "one thread" if threads == 1 else f"{threads} threads"
    number = "1 run" if prepared.total == 1 else f"{prepared.total:,} runs"
    yield f"{number} in {folder.path}, {jobs} at a time with {each} each"
    if finished:
        yield f"{finished} finished before: kept"
    if begun > 0:
        yield f"{begun} interrupted before: going on from their checkpoints"
    if failed:
        yield f"{failed} failed before: run again"


@contextmanager
def _view(total: int, *, quiet: bool) -> Iterator[View]:
    from rich.console import Console  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415

    from mlograph.campaign.live import Board, Lines, Progress, Silent  # noqa: PLC0415

    if quiet:
        yield Silent()
        return
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    progress = Progress(total)
    if not console.is_terminal or console.is_dumb_terminal:
        yield Lines(console, progress)
        return
    with Live(console=console, transient=True, refresh_per_second=4) as live:
        yield Board(live, progress)


def _source(prepared: Prepared, folder: Folder) -> Source:
    request, axes = prepared.request, prepared.axes
    if request.trials is None:
        return Listed(prepared.runs, request.metric)

    def finish(run: Run) -> Run:
        return completed(request, axes, run)[0]

    file = folder.path / TRIALS
    return Search(
        axes, request.trials, request.metric, request.direction, request.draw_seed, file, finish
    )


def _result(prepared: Prepared, folder: Folder, pool: Pool) -> SweepResult:
    listed = [run for group in prepared.runs for run in group]
    request = prepared.request
    runs = tuple(listed if request.trials is None else pool.runs.values())
    table = Table(
        f"Sweep of {prepared.name}",
        request.command,
        prepared.axes,
        runs,
        dict(pool.outcomes),
        request.metric,
        request.direction,
    )
    return SweepResult(folder.path, runs, dict(pool.outcomes), table)


def _write(folder: Folder, table: Table) -> None:
    # Not imported before it is needed: every command imports this module.
    from mlograph.campaign.page import page  # noqa: PLC0415

    write_whole(folder.path / "table.md", as_markdown(table))
    write_whole(folder.path / "table.csv", as_csv(table))
    report = page(table, folder)
    if report:
        write_whole(folder.path / REPORT, report)
