"""A run of which everything is kept: inputs before it, measurements during it, a report after."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from mlograph import diagrams, environment, revision, rundir
from mlograph.components import Imports
from mlograph.declaration import Declaration
from mlograph.errors import GraphError, MlographError
from mlograph.explain import explain
from mlograph.graph import ProblemGraph
from mlograph.loggers.jsonl import Jsonl
from mlograph.loggers.memory import Memory
from mlograph.loggers.protocol import Logger
from mlograph.plan import Plan
from mlograph.report import Report, page
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
    ) -> RunResult:
        """Runs the plan, tells the loggers, and saves the final state in `checkpoint`."""
        ...


def run_in_directory(
    declaration: Declaration, output: Path, loggers: Sequence[Logger], runner: Runner
) -> RunResult:
    """Runs a graph in a run directory of its own, `output/NAME/TIME`.

    A run that fails after it began leaves its directory behind, with a report that says why; one
    that never began leaves nothing.

    Raises:
        UsageError: the directory cannot be written.
    """
    directory = rundir.create(output, declaration.spec.name)
    memory = Memory()
    began = time.monotonic()
    draft = None
    try:
        draft = _draft(declaration)
        _write_inputs(directory, declaration, draft)
        result = runner(
            declaration.structure,
            declaration.plan,
            declaration.imports,
            (*loggers, Jsonl(directory.metrics), memory),
            directory.checkpoints,
        )
    except BaseException as error:
        if draft is None or memory.total is None:
            directory.discard()
        else:
            # What stopped the run is what its reader must see, not a disk too full for a report.
            with contextlib.suppress(MlographError):
                ended, seconds = f"stopped by {_words(error)}", time.monotonic() - began
                _write_report(directory, draft, memory, ended, seconds, finished=False)
        raise
    _write_report(directory, draft, memory, result.ended, result.seconds, finished=True)
    return replace(result, directory=directory.path)


def _draft(declaration: Declaration) -> Report:
    """The report as far as it is known before the run."""
    spec = declaration.spec
    return Report(
        name=spec.name,
        description=spec.description,
        command=declaration.command,
        diagram=_diagram(declaration),
        plan=explain(declaration.structure, declaration.plan),
        problems=tuple(spec.problems),
        environment=environment.describe(spec.engine.device),
    )


def _write_inputs(directory: RunDirectory, declaration: Declaration, draft: Report) -> None:
    command = f"command   {declaration.command}\n" if declaration.command else ""
    directory.write("resolved.yaml", _resolved(declaration))
    directory.write("overrides.txt", "".join(f"{line}\n" for line in declaration.overrides))
    directory.write("environment.txt", command + draft.environment)
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
        return diagrams.render(declaration.structure, declaration.plan, "svg")
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
    report = replace(
        draft,
        ended=ended,
        finished=finished,
        steps=memory.step,
        total=memory.total or 0,
        seconds=seconds,
        records=memory.records,
    )
    directory.write("report.html", page(report))


def _words(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "its user"
    text = str(error)
    return text if isinstance(error, MlographError) else f"{type(error).__name__}: {text}"
