"""The command `mlograph`."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

import mlograph
from mlograph.api import Graph, load, load_run
from mlograph.campaign import command as sweep_command
from mlograph.errors import Fault, GraphError, Interruption, MlographError, NumericError, UsageError
from mlograph.graph import depth
from mlograph.language.overrides import SOURCE_NAME as OVERRIDES
from mlograph.report import command as report_command
from mlograph.terminal import printable, printable_line

if TYPE_CHECKING:
    from mlograph.gradcheck import Report
    from mlograph.result import RunResult

app = typer.Typer(
    name="mlograph",
    help="Multilevel optimisation, declared as a graph of problems.",
    epilog="Example: mlograph new example && mlograph run example.yaml",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

# `key=value`, `+key=value` and `~key`; a file that looks like one can be given as `./a=b.yaml`.
_OVERRIDE = re.compile(r"[+~]|[\w.\[\]-]+=")

GraphFile = Annotated[Path, typer.Argument(metavar="GRAPH", help="A graph file.")]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="OVERRIDES", help="Changes: problems.inner.unroll_steps=8, +new.key=1, ~key."
    ),
]


Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print only errors.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="Print each instruction with its time.")
]
Profiled = Annotated[
    bool,
    typer.Option(
        "--profile", help="Measure time and memory by instruction; see profile.json of the run."
    ),
]


def main() -> None:
    """Runs the command that the process was started with."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that knows few characters gets the others written out, not an error.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except MlographError as error:
        _complain(error)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(130)


def _version(wanted: bool) -> None:
    if wanted:
        _print(f"mlograph {mlograph.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Multilevel optimisation, declared as a graph of problems."""


@app.command(epilog="Example: mlograph check graphs/*.yaml engine.steps=100")
def check(
    graphs: Annotated[
        list[str], typer.Argument(metavar="GRAPH|OVERRIDE", help="Files and changes.")
    ],
) -> None:
    """Check graph files without running anything."""
    overrides = [word for word in graphs if _OVERRIDE.match(word)]
    files = [word for word in graphs if not _OVERRIDE.match(word)]
    if not files:
        raise UsageError("no graph file given")
    wrong = False
    for file in files:
        try:
            graph = load(file, overrides)
            _warn(graph.check())
        except MlographError as error:
            wrong = True
            _complain(error, file if len(files) > 1 else "")
        else:
            _print(f"{printable_line(file)}: OK, {_size(graph)}")
    if wrong:
        raise typer.Exit(MlographError.exit_code)


@app.command(epilog="Example: mlograph plan graph.yaml problems.inner.unroll_steps=8")
def plan(graph: GraphFile, overrides: Overrides = None) -> None:
    """Print what a run of a graph would execute, and how hypergradients flow."""
    loaded = load(graph, overrides or ())
    _warn(loaded.check())
    _print(loaded.explain().rstrip("\n"))


@app.command(epilog="Example: mlograph render graph.yaml -o graph.svg")
def render(
    graph: GraphFile,
    overrides: Overrides = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The file to write; standard output by default."),
    ] = None,
    fmt: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="FORMAT",
            help="dot, svg, png, mermaid, html, …; by default the suffix of the file tells, "
            "and dot goes to standard output.",
        ),
    ] = None,
) -> None:
    """Draw a graph."""
    loaded = load(graph, overrides or ())
    _warn(loaded.check())
    if output is not None:
        loaded.save_diagram(output, fmt)
        return
    _print_diagram(loaded.render(fmt or "dot"))


@app.command(epilog="Example: mlograph run graph.yaml engine.steps=100 --output /tmp/runs")
def run(
    graph: GraphFile,
    overrides: Overrides = None,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Where run directories are made.")
    ] = Path("runs"),
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="PACKAGE", help="Let components come from this package as well."),
    ] = None,
    no_run_dir: Annotated[bool, typer.Option("--no-run-dir", help="Write nothing.")] = False,
    quiet: Quiet = False,
    verbose: Verbose = False,
    profile: Profiled = False,
) -> None:
    """Run a graph, and keep everything about the run in OUTPUT/NAME/TIME."""
    loaded = load(graph, overrides or (), allow or ())
    _warn(loaded.check())
    with _interruptible():
        result = loaded.run(
            None if no_run_dir else output,
            quiet=quiet,
            verbose=verbose,
            profile=profile,
            ends_process=True,
        )
    if not quiet:
        _conclude(result)


@app.command(epilog="Example: mlograph resume runs/imaml/2026-01-31T12-00-00")
def resume(
    directory: Annotated[
        Path, typer.Argument(metavar="RUN", help="The directory of a run: OUTPUT/NAME/TIME.")
    ],
    allow: Annotated[
        list[str] | None,
        typer.Option(metavar="PACKAGE", help="Let components come from it, as for the run."),
    ] = None,
    quiet: Quiet = False,
    verbose: Verbose = False,
    profile: Profiled = False,
) -> None:
    """Go on with a run from its newest checkpoint, as if it had never been interrupted."""
    loaded = load_run(directory, allow or ())
    with _interruptible():
        result = loaded.resume(
            directory, quiet=quiet, verbose=verbose, profile=profile, ends_process=True
        )
    if not quiet:
        _conclude(result)


Allowed = Annotated[
    list[str] | None,
    typer.Option("--allow", metavar="PACKAGE", help="Let components come from it as well."),
]
Uppers = Annotated[
    list[str] | None,
    typer.Option("--of", metavar="PROBLEM", help="Only this upper problem; may be repeated."),
]
Methods = Annotated[str, typer.Option(metavar="A,B,…", help="Methods to compare; all by default.")]
Start = Annotated[
    Path | None,
    typer.Option(
        "--from",
        metavar="RUN",
        help="Begin where a run ended: its directory, or a checkpoint file. Else at the start.",
    ),
]
Tolerance = Annotated[float, typer.Option(help="Largest relative error of the graph's own method.")]
Directions = Annotated[int, typer.Option(help="Random directions for finite differences.")]
Difference = Annotated[
    float | None, typer.Option(help="Step of the differences; extrapolated by default.")
]
References = Annotated[
    list[str] | None, typer.Option(metavar="KIND", help="solved or as-run; both by default.")
]
Budget = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        help="About how long it may take (inf: no limit); what there is no time for is named.",
    ),
]
Precision = Annotated[str, typer.Option(help="float64, or graph for what the file says.")]
Written = Annotated[
    Path | None,
    typer.Option("--output", "-o", help="Write the report as well: .json, or plain text."),
]


@app.command(epilog="Example: mlograph gradcheck graphs/hpo.yaml --methods cg,neumann,unroll")
def gradcheck(
    graph: GraphFile,
    overrides: Overrides = None,
    of: Uppers = None,
    methods: Methods = "",
    start: Start = None,
    tol: Tolerance = 0.01,
    directions: Directions = 3,
    step: Difference = None,
    reference: References = None,
    budget: Budget = 120.0,
    precision: Precision = "float64",
    output: Written = None,
    allow: Allowed = None,
) -> None:
    """Compare hypergradients with finite differences, and methods with one another.

    Ends with 0 if the graph's own method agrees, with 3 if it does not or nothing could tell.
    """
    from mlograph.gradcheck import Progress, Settings

    if output is not None and not output.parent.is_dir():
        raise UsageError(f"{output}: cannot be written: there is no folder {output.parent}")
    loaded = load(graph, overrides or (), allow or ())
    _warn(loaded.check())
    settings = Settings(
        uppers=tuple(of or ()),
        methods=tuple(filter(None, map(str.strip, methods.split(",")))),
        references=tuple(kind.replace("-", " ") for kind in reference or ()),
        directions=directions,
        step=step,
        tol=tol,
        precision=precision,
        start=start,
        budget=budget,
    )
    progress = Progress(sys.stderr)
    try:
        report = loaded.gradcheck(settings, progress)
    finally:
        progress.end()
    _report(report, output)


app.command(epilog=sweep_command.EXAMPLE)(sweep_command.sweep)
app.command(epilog=report_command.EXAMPLE)(report_command.report)


@app.command(epilog="Example: mlograph schema > graph.schema.json")
def schema() -> None:
    """Print the JSON schema of graph files, for editors."""
    from mlograph.language import json_schema

    _print(json.dumps(json_schema(), indent=2))


@app.command(epilog="Example: mlograph new example && mlograph run example.yaml")
def new(
    name: Annotated[str, typer.Argument(help="Of the graph and of its two files.")],
    directory: Annotated[
        Path, typer.Option("--directory", "-d", help="Where the files go.")
    ] = Path(),
    template: Annotated[
        str, typer.Option("--template", "-t", help="bilevel or reweight.")
    ] = "bilevel",
) -> None:
    """Write a small graph to start from: NAME.yaml, and NAME.py with its losses and data."""
    from mlograph.scaffold import scaffold

    for file in scaffold(name, directory, template):
        _print(str(file))


@contextmanager
def _interruptible() -> Iterator[None]:
    """A run that was saved and stopped says so; typer would end with 130 and nothing else."""
    try:
        yield
    except Interruption as stopped:
        _print(str(stopped), sys.stderr)
        raise typer.Exit(stopped.exit_code) from None


def _conclude(result: RunResult) -> None:
    _print(f"{result.name}: {result.ended}")
    if result.directory is not None:
        _print(str(result.directory / "report.html"))


def _report(report: Report, output: Path | None) -> None:
    from rich.console import Console

    from mlograph.gradcheck import as_json, as_text, show

    if output is not None:
        text = as_json(report) if output.suffix == ".json" else as_text(report)
        try:
            output.write_text(text, "utf-8", "backslashreplace")
        except OSError as error:
            raise UsageError(f"{output}: cannot be written: {error.strerror or error}") from error
    console = Console(file=sys.stdout, highlight=False, markup=False, emoji=False)
    if console.is_terminal:
        show(report, console)
    else:
        _print(as_text(report).rstrip("\n"))
    if not report.passed:
        raise typer.Exit(NumericError.exit_code)


def _print(text: str, stream: TextIO | None = None) -> None:
    # Flushed at once, so that a reader that went away is noticed here and not at exit.
    print(printable(text), file=stream or sys.stdout, flush=True)


def _print_diagram(drawing: bytes) -> None:
    """Byte for byte what a file would hold; whatever a graph says in it is escaped already."""
    if b"\0" in drawing and sys.stdout.isatty():
        raise UsageError("this format is not text: name a file with -o")
    sys.stdout.buffer.write(drawing)
    sys.stdout.buffer.flush()


def _complain(error: MlographError, file: str = "") -> None:
    """Shows an error; `file` is named where a fault stands in the overrides of several files."""
    if not isinstance(error, GraphError) or error.faults[0].location is None:
        _print(f"error: {error}", sys.stderr)
        return
    for fault in error.faults:
        overridden = fault.location is not None and fault.location.file == OVERRIDES
        _print(f"{file}: {fault}" if file and overridden else str(fault), sys.stderr)


def _warn(faults: Iterable[Fault]) -> None:
    for fault in faults:
        _print(f"warning: {fault}", sys.stderr)


def _size(graph: Graph) -> str:
    structure = graph.structure
    return (
        f"{_count(len(structure.problems), 'problem')}, "
        f"{_count(len(graph.spec.edges), 'edge')}, {_count(depth(structure), 'level')}"
    )


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"
