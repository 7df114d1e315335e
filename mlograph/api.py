"""Graphs in Python: read from a file, or built from Python objects."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlograph import diagrams, language, rundir
from mlograph.checks import faults_of
from mlograph.components import Imports
from mlograph.declaration import Declaration
from mlograph.errors import Fault, GraphError, MlographError, UsageError, did_you_mean
from mlograph.graph import ProblemGraph
from mlograph.language.faults import limited
from mlograph.language.spec import GraphSpec
from mlograph.plan import Plan
from mlograph.terminal import printable

if TYPE_CHECKING:
    from mlograph.gradcheck import Report as GradcheckReport
    from mlograph.gradcheck import Settings
    from mlograph.loggers.protocol import Logger
    from mlograph.profiling import Watch
    from mlograph.result import RunResult

_FORMAT_OF_SUFFIX = {"gv": "dot", "mmd": "mermaid", "htm": "html"}


def load(
    path: str | os.PathLike[str], overrides: Sequence[str] = (), allow: Sequence[str] = ()
) -> Graph:
    """Reads a graph file.

    Args:
        path: the YAML file.
        overrides: changes to it, such as `problems.inner.unroll_steps=8`.
        allow: packages that its components may come from, besides the usual ones.

    Raises:
        GraphError: everything that is wrong with the file, each with its place, if its form is
            wrong. What is only wrong with its meaning is told by `Graph.check`, and by all that
            needs it.
    """
    overrides, allow = _texts("overrides", overrides), _texts("allow", allow)
    reading = language.read(path, overrides)
    if reading.draft.faults:
        raise GraphError(reading.source.listed(faults_of(reading.draft)))
    loaded = reading.loaded()
    words = ["mlograph", "run", os.fspath(path), *overrides]
    words += [word for package in allow for word in ("--allow", package)]
    imports = Imports(Path(path).parent, allow)
    return Graph._of(Declaration(loaded.spec, imports, loaded.source, overrides, shlex.join(words)))


def load_run(directory: str | os.PathLike[str], allow: Sequence[str] = ()) -> Graph:
    """Reads the graph of a run, as it was when the run began.

    Args:
        directory: of the run.
        allow: packages that its components may come from; those that the run was given must be
            given again, since a directory may be anybody's.

    Raises:
        GraphError: the graph was built in Python; call `resume` on it.
        StorageError: the directory cannot be read.
        UsageError: this is no directory of a run.
    """
    allow = _texts("allow", allow)
    folder, allowed = rundir.opened(Path(directory)).origin()
    missing = [package for package in allowed if package not in allow]
    if missing:
        raise UsageError(
            f"{directory}: the run was made with --allow {' --allow '.join(missing)}; "
            "give that again if you trust it"
        )
    path = Path(directory) / "resolved.yaml"
    reading = language.read(path)
    if reading.draft.faults:
        raise GraphError(reading.source.listed(faults_of(reading.draft)))
    loaded = reading.loaded()
    command = shlex.join(["mlograph", "resume", os.fspath(directory)])
    return Graph._of(Declaration(loaded.spec, Imports(folder, allow), loaded.source, (), command))


def _remark(text: str) -> None:
    print(printable(f"warning: {text}"), file=sys.stderr, flush=True)


class Graph:
    """A graph of problems: it can be checked, planned, drawn, run and written as YAML.

    A graph never changes. Wherever a graph file has an import path, Python may give the class or
    function itself, or a module, a DataLoader or another object as it is.

    Args:
        problems: by name, with the same keys as in a graph file.
        edges: such as `("u2l", "outer", "inner")` or `{"u2l": "outer -> inner"}`.
        env: the shared source of data.
        engine: how long, where and how to run.
        name: of the graph, and of the folder of its runs.
        vars: values that `${vars.NAME}` refers to.
        allow: packages that import paths may come from, besides the usual ones.

    Raises:
        GraphError: everything that is wrong with the graph, if its form is wrong. What is only
            wrong with its meaning is told by `check`, and by all that needs it.

    Example:
        >>> graph = Graph(
        ...     problems={
        ...         "outer": {"module": "torch.nn.Identity", "optimizer": "sgd", "loss": "mse"},
        ...         "inner": {"module": "torch.nn.Identity", "optimizer": "sgd", "loss": "mse"},
        ...     },
        ...     edges=[("u2l", "outer", "inner"), ("l2u", "inner", "outer")],
        ... )
        >>> graph.plan().counted
        'outer'
    """

    def __init__(
        self,
        *,
        problems: Mapping[str, Any],
        edges: Sequence[Any] = (),
        env: Any = None,
        engine: Mapping[str, Any] | None = None,
        name: str = "graph",
        vars: Mapping[str, Any] | None = None,
        allow: Sequence[str] = (),
    ) -> None:
        written: dict[str, Any] = {"mlograph": 1, "name": name, "vars": dict(vars or {})}
        written |= {"problems": dict(problems), "edges": list(edges)}
        written |= {"env": env} if env is not None else {}
        written |= {"engine": dict(engine)} if engine is not None else {}
        imports = Imports(None, _texts("allow", allow))
        draft = language.draft(written)
        if draft.faults:
            raise GraphError(limited(faults_of(draft)))
        self._declaration = Declaration(draft.finished(), imports)

    @classmethod
    def _of(cls, declaration: Declaration) -> Graph:
        graph = cls.__new__(cls)
        graph._declaration = declaration
        return graph

    @property
    def spec(self) -> GraphSpec:
        """What the graph says."""
        return self._declaration.spec

    @property
    def structure(self) -> ProblemGraph:
        """Which problems there are and who reads whom.

        Raises:
            GraphError: everything that is wrong with what the graph means.
        """
        return self._declaration.structure

    def check(self) -> tuple[Fault, ...]:
        """Checks all that can be checked without importing anything, and gives the warnings.

        Raises:
            GraphError: everything that is wrong, each with its place where there is a file.
        """
        self.plan()
        return self._declaration.warnings()

    def plan(self) -> Plan:
        """What a run executes.

        Raises:
            GraphError: everything that is wrong with what the graph means.
        """
        return self._declaration.plan

    def explain(self) -> str:
        """The plan in words."""
        return self._declaration.explained()

    def render(self, fmt: str = "svg") -> bytes:
        """The diagram in one of the formats `mlograph.diagrams.FORMATS`.

        Raises:
            UsageError: no such format, or it cannot be drawn here.
        """
        if fmt not in diagrams.FORMATS:
            raise UsageError(f"no format '{fmt}' ({did_you_mean(fmt, diagrams.FORMATS)})")
        return self._declaration.rendered(fmt)

    def save_diagram(self, path: str | os.PathLike[str], fmt: str | None = None) -> None:
        """Writes the diagram to a file, whose suffix tells the format unless `fmt` does.

        Raises:
            UsageError: the format is not known, or the file cannot be written.
        """
        target = Path(path)
        suffix = target.suffix.removeprefix(".").lower()
        if fmt is None and not suffix:
            raise UsageError(f"{target}: a suffix such as .svg must tell the format")
        drawing = self.render(fmt or _FORMAT_OF_SUFFIX.get(suffix, suffix))
        try:
            target.write_bytes(drawing)
        except OSError as error:
            reason = error.strerror or str(error)
            raise UsageError(f"{target}: cannot be written: {reason}") from error

    def run(
        self,
        directory: str | os.PathLike[str] | None = None,
        loggers: Sequence[Logger] = (),
        quiet: bool = False,
        *,
        exact: bool = False,
        verbose: bool = False,
        profile: bool = False,
        ends_process: bool = False,
    ) -> RunResult:
        """Runs the graph.

        Args:
            directory: where a folder `NAME/TIME` with all about the run is made; without it,
                nothing is written.
            loggers: further sinks for what is measured.
            quiet: show no progress.
            exact: `directory` is the folder of this run itself, which is not there yet.
            verbose: show each instruction with its time.
            profile: measure time and memory by instruction and problem: shown at the end, written
                to `profile.json`, and in the result.
            ends_process: a second Ctrl-C ends the process at once, not only the run.

        Raises:
            GraphError: the graph, or a component of it, is wrong.
            Interruption: Ctrl-C or SIGTERM came; what was reached is in the directory.
            NumericError: numbers went wrong.
            StorageError: something cannot be written.
            UsageError: something cannot be carried out as it was asked for.
        """
        # Imported here, since torch takes seconds and nothing but a run needs it.
        from mlograph.run import run  # noqa: PLC0415
        from mlograph.session import run_in_directory  # noqa: PLC0415

        declaration = self._declaration
        structure, plan = self.structure, self.plan()
        with declaration.telling(), _watched(quiet, verbose, profile) as (screens, watch):
            sinks = (*loggers, *screens)
            if directory is None:
                hide = declaration.hidden
                return run(structure, plan, declaration.imports, sinks, watch=watch, hide=hide)
            runner = partial(run, ends_process=ends_process, watch=watch, hide=declaration.hidden)
            return run_in_directory(
                declaration, Path(directory), sinks, runner, exact=exact, profile=watch.profile
            )

    def resume(
        self,
        directory: str | os.PathLike[str],
        loggers: Sequence[Logger] = (),
        quiet: bool = False,
        tell: Callable[[str], None] = _remark,
        *,
        verbose: bool = False,
        profile: bool = False,
        ends_process: bool = False,
    ) -> RunResult:
        """Goes on with a run of this graph, to the last bit as if it had not been interrupted.

        Args:
            directory: of the run.
            loggers: further sinks for what is measured.
            quiet: show no progress.
            tell: called with what is not as it was: versions, threads, a damaged checkpoint. By
                default these are printed to the standard error stream.
            verbose: show each instruction with its time.
            profile: measure time and memory from here on, as `run` does.
            ends_process: a second Ctrl-C ends the process at once, not only the run.

        Raises:
            GraphError: the graph, or a component of it, is wrong.
            Interruption: Ctrl-C or SIGTERM came; what was reached is in the directory.
            NumericError: numbers went wrong.
            StorageError: what was saved cannot be read, or is of another graph.
            UsageError: this is no directory of a run.
        """
        from mlograph.run import run  # noqa: PLC0415
        from mlograph.session import resume_in_directory  # noqa: PLC0415

        declaration, opened = self._declaration, rundir.opened(Path(directory))
        with declaration.telling(), _watched(quiet, verbose, profile) as (screens, watch):
            runner = partial(run, ends_process=ends_process, watch=watch, hide=declaration.hidden)
            sinks = (*loggers, *screens)
            return resume_in_directory(declaration, opened, sinks, runner, tell, watch.profile)

    def gradcheck(
        self, settings: Settings | None = None, tell: Callable[[str], None] | None = None
    ) -> GradcheckReport:
        """Compares its hypergradients with finite differences, and its methods with one another.

        Args:
            settings: how, as `mlograph.gradcheck.Settings`.
            tell: called with what is being computed.

        Raises:
            GraphError: the graph, or a component of it, is wrong.
            NumericError: numbers went wrong on the way to the point of the check.
            UsageError: there is no hypergradient to check, or the settings do not fit.
        """
        from mlograph.gradcheck import Settings, check, silent  # noqa: PLC0415

        declaration = self._declaration
        with declaration.telling():
            structure, imports = self.structure, declaration.imports
            return check(structure, self.plan(), imports, settings or Settings(), tell or silent)

    def to_yaml(self) -> str:
        """The graph as the text of a graph file that needs no other file.

        Raises:
            GraphError: the graph holds objects that no text can stand for.
        """
        return self._declaration.yaml()

    def __repr__(self) -> str:
        return f"Graph(name={self.spec.name!r}, problems={list(self.spec.problems)})"

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        """What a notebook shows: the diagram, or what is wrong with the graph."""
        try:
            return {"text/plain": repr(self), "image/svg+xml": self.render("svg").decode()}
        except MlographError as error:
            return {"text/plain": f"{self!r}\n{error}"}

    def _repr_svg_(self) -> str | None:
        """The diagram alone, for pages that ask for it; nothing where the graph is wrong."""
        return self._repr_mimebundle_().get("image/svg+xml")


@contextmanager
def _watched(
    quiet: bool, verbose: bool, profile: bool
) -> Iterator[tuple[tuple[Logger, ...], Watch]]:
    """Whatever shows a run, and whatever measures it; a profile is shown however a run ends."""
    from mlograph.loggers.console import console  # noqa: PLC0415
    from mlograph.profiling import Watch, as_text  # noqa: PLC0415

    if quiet and verbose:
        raise UsageError("a run cannot be both quiet and verbose")
    screen = None if quiet else console()
    watch = Watch(screen.say if screen is not None and verbose else None, profile=profile)
    try:
        yield () if screen is None else (screen,), watch
    finally:
        if screen is not None and watch.profile is not None and watch.profile.seconds:
            screen.say("\n" + as_text(watch.profile) + "\n")


def _texts(argument: str, texts: Sequence[str]) -> tuple[str, ...]:
    # A lone text is a sequence of texts too, of one letter each.
    if isinstance(texts, str):
        raise UsageError(f"{argument}: expected a list of texts, got the text '{texts}'")
    return tuple(texts)
