"""A run of which everything is kept: inputs before it, measurements during it, a report after."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from mlograph import environment, pictures, revision, rundir
from mlograph.checkpoints import Signals
from mlograph.components import Imports
from mlograph.declaration import Declaration
from mlograph.errors import GraphError, MlographError
from mlograph.graph import ProblemGraph
from mlograph.loggers.jsonl import Jsonl
from mlograph.loggers.memory import Memory
from mlograph.loggers.protocol import Logger
from mlograph.pictures import Picture
from mlograph.plan import Plan
from mlograph.profiling import Profile
from mlograph.report import Report, page, read
from mlograph.report import dumped as dumped_report
from mlograph.result import RunResult
from mlograph.rundir import RunDirectory


class Runner(Protocol):
    """What carries a plan out."""

    def __call__(
        self,
        graph: ProblemGraph,
        plan: Plan,
        imports: Imports,
        loggers: Sequence[Logger] = (),
        checkpoint: Path | None = None,
        again: Callable[[str], None] | None = None,
        learned: Callable[[Sequence[Picture]], None] | None = None,
    ) -> RunResult:
        """Runs the plan, tells the loggers, and saves the state in `checkpoint`.

        Where there is an `again`, it goes on from the newest state there, and tells that what is
        not as it was. `learned` gets pictures of what was learned when a run is interrupted.
        """
        ...


def run_in_directory(
    declaration: Declaration,
    output: Path,
    loggers: Sequence[Logger],
    runner: Runner,
    *,
    exact: bool = False,
    profile: Profile | None = None,
) -> RunResult:
    """Runs a graph in a run directory of its own, `output/NAME/TIME`; `exact`: in `output` itself.

    A run that fails after it began leaves its directory behind, with a report that says why; one
    that never began leaves nothing.

    Raises:
        UsageError: the directory cannot be written.
    """
    directory = rundir.at(output) if exact else rundir.create(output, declaration.spec.name)
    memory = Memory()
    with directory.held():
        try:
            draft = _draft(declaration)
            _write_inputs(directory, declaration, draft)
            return _carried_out(declaration, directory, loggers, runner, draft, memory, profile)
        except BaseException:
            if memory.total is None:
                directory.discard()
            raise


def resume_in_directory(
    declaration: Declaration,
    directory: RunDirectory,
    loggers: Sequence[Logger],
    runner: Runner,
    tell: Callable[[str], None],
    profile: Profile | None = None,
) -> RunResult:
    """Goes on with a run in its directory, as if it had never been interrupted.

    Raises:
        BusyError: it is going on in another process.
        StorageError: its state cannot be read.
    """
    memory = Memory()
    with directory.held():
        # What repeats the run is the command that began it.
        command = read(directory.path).report.command or declaration.command
        draft = replace(_draft(declaration), command=command)
        return _carried_out(declaration, directory, loggers, runner, draft, memory, profile, tell)


def _carried_out(  # noqa: PLR0913, PLR0917 (what both ways to begin have found)
    declaration: Declaration,
    directory: RunDirectory,
    loggers: Sequence[Logger],
    runner: Runner,
    draft: Report,
    memory: Memory,
    profile: Profile | None,
    again: Callable[[str], None] | None = None,
) -> RunResult:
    with _reporting(declaration, directory, draft, memory), _profiling(directory, profile):
        result = runner(
            declaration.structure,
            declaration.plan,
            declaration.imports,
            (*loggers, Jsonl(directory.metrics), memory),
            directory.checkpoints,
            again,
            partial(_keep_pictures, declaration, directory),
        )
    # Nothing is left to stop: a first signal waits until all is written.
    with Signals(ends_process=False).caught():
        _keep_pictures(declaration, directory, result.pictures)
        _write_report(directory, draft, memory, result.ended, result.seconds, finished=True)
    return replace(result, directory=directory.path)


def _keep_pictures(
    declaration: Declaration, directory: RunDirectory, learned: Sequence[Picture]
) -> None:
    if learned:
        directory.write("learned.json", declaration.hidden(pictures.dumped(learned)))


@contextlib.contextmanager
def _reporting(
    declaration: Declaration, directory: RunDirectory, draft: Report, memory: Memory
) -> Iterator[None]:
    """A run that began and is stopped leaves a report that says why."""
    began = time.monotonic()
    try:
        yield
    except BaseException as error:
        if memory.total is not None:
            # What stopped the run is what its reader must see, not a disk too full for a report.
            with contextlib.suppress(MlographError):
                ended, seconds = declaration.hidden(_words(error)), time.monotonic() - began
                _write_report(directory, draft, memory, ended, seconds, finished=False)
        raise


@contextlib.contextmanager
def _profiling(directory: RunDirectory, profile: Profile | None) -> Iterator[None]:
    """What was measured until a run ended is kept, however it ended."""
    try:
        yield
    finally:
        if profile is not None and profile.seconds:
            # What ended the run is what its reader must see.
            with contextlib.suppress(MlographError):
                directory.write("profile.json", json.dumps(profile.as_dict(), indent=2))


def _draft(declaration: Declaration) -> Report:
    """The report as far as it is known before the run."""
    spec = declaration.spec
    uppers = {edge.source for edge in spec.edges if edge.kind == "u2l"}
    return Report(
        name=spec.name,
        description=declaration.hidden(spec.description),
        command=declaration.command,
        diagram=_diagram(declaration),
        plan=declaration.explained(),
        problems=tuple(spec.problems),
        environment=environment.describe(spec.engine.device),
        uppers=tuple(name for name in spec.problems if name in uppers),
        total=declaration.plan.steps,
    )


def _write_inputs(directory: RunDirectory, declaration: Declaration, draft: Report) -> None:
    command = f"command   {declaration.command}\n" if declaration.command else ""
    directory.write("run.json", dumped_report(draft))
    directory.write("resolved.yaml", _resolved(declaration))
    directory.write("overrides.txt", "".join(f"{line}\n" for line in declaration.overrides))
    directory.write("environment.txt", command + draft.environment)
    directory.write_origin(declaration.imports.folder, declaration.imports.allowed)
    directory.write("plan.txt", draft.plan)
    if draft.diagram:
        directory.write("graph.svg", draft.diagram)
    changes = revision.diff(declaration.imports.folder or Path.cwd())
    if changes:
        directory.write("git.diff", changes)


def _resolved(declaration: Declaration) -> str:
    """The graph as YAML; for a graph with live objects, a comment that says what is missing."""
    try:
        return declaration.yaml()
    except GraphError as error:
        return "".join(f"# {line}\n" for line in str(error).splitlines())


def _diagram(declaration: Declaration) -> bytes:
    """The graph as SVG; empty where nothing on this machine can draw it, which stops no run."""
    try:
        return declaration.rendered("svg")
    except MlographError:
        return b""


def _write_report(
    directory: RunDirectory,
    draft: Report,
    memory: Memory,
    ended: str,
    seconds: float,
    *,
    finished: bool,
) -> None:
    """The page is made of what the directory holds, as `mlograph report` makes it again."""
    facts = replace(
        draft,
        ended=ended,
        finished=finished,
        steps=memory.step,
        total=memory.total or draft.total,
        seconds=seconds,
    )
    directory.write("run.json", dumped_report(facts))
    directory.write("report.html", page(read(directory.path).report))


def _words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return str(error).partition(";")[0] or "stopped by its user"
    known = isinstance(error, MlographError)
    return f"stopped: {error}" if known else f"stopped: {type(error).__name__}: {error}"
