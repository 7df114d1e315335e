"""What a run is made of: everything that a graph names, built."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mlograph.bind import bind
from mlograph.components import Imports, build
from mlograph.errors import Fault, GraphError, UsageError
from mlograph.errors import Path as SpecPath
from mlograph.gathering import Gathering
from mlograph.graph import ProblemGraph
from mlograph.language.spec import Component, EngineSpec
from mlograph.loggers import named
from mlograph.loggers.confined import confined
from mlograph.loggers.protocol import Logger, PlacedLogger
from mlograph.painters import Painter
from mlograph.plan import Plan
from mlograph.program import Program
from mlograph.validation import Validator


@dataclass(frozen=True)
class Parts:
    """What a graph names.

    Attributes:
        program: its problems, their data and its Env.
        validator: of `engine.validate`.
        loggers: of `engine.loggers`; not started.
        painters: of `engine.pictures`.
    """

    program: Program
    validator: Validator | None
    loggers: tuple[Logger, ...]
    painters: tuple[Painter, ...]


def built(graph: ProblemGraph, plan: Plan, imports: Imports, folder: Path | None = None) -> Parts:
    """Build everything that a graph names.

    Args:
        graph: what to build.
        plan: its schedule.
        imports: where components may come from.
        folder: where sinks that a graph file names may write; the working folder by default.

    Raises:
        GraphError: with everything that was found wrong.
    """
    engine, found = graph.spec.engine, Gathering()
    program = validator = None
    with found.piece():
        program = bind(graph, plan, imports)
    with found.piece():
        validator = _validator(engine, imports)
    painters: list[Painter] = []
    for index, component in enumerate(engine.pictures):
        with found.piece():
            painters.append(_painter(component, imports, ("engine", "pictures", index)))
    # Last, since these may open files.
    loggers: list[Logger] = []
    for index, component in enumerate(engine.loggers if not found.faults else ()):
        path: SpecPath = ("engine", "loggers")
        path = (*path, index) if len(engine.loggers) > 1 else path
        with found.piece():
            loggers.append(_logger(component, imports, path, folder or Path.cwd()))
    if program is None or found.faults:
        for logger in loggers:
            logger.close()
        raise GraphError(found.faults)
    return Parts(program, validator, tuple(loggers), tuple(painters))


def _painter(component: Component, imports: Imports, path: SpecPath) -> Painter:
    made = build(component, imports, path)
    if not isinstance(made, Painter):
        kind = type(made).__name__
        message = f"expected something like mlograph.painters.SampleWeights, got a {kind}"
        raise GraphError([Fault(path, message)])
    return made


def _logger(component: Component, imports: Imports, path: SpecPath, folder: Path) -> Logger:
    """A sink; what a graph file names is written in `folder`, where Python may write anywhere."""
    target = component.target
    if isinstance(target, str) and "." not in target:
        try:
            component = Component.of(named(target), **component.args)
        except UsageError as error:
            raise GraphError([Fault(path, str(error))]) from error
    made = build(component, imports, path)
    if not isinstance(made, Logger):
        raise GraphError([Fault(path, f"expected a logger, got a {type(made).__name__}")])
    if imports.folder is None or not isinstance(made, PlacedLogger):
        return made
    return made.placed(confined(made.path, folder, (*path, "path")))


def _validator(engine: EngineSpec, imports: Imports) -> Validator | None:
    spec = engine.validate_
    if engine.early_stopping is not None and (spec is None or spec.every is None):
        missing = "'validate' under engine" if spec is None else "'every' under validate"
        path = ("engine", "early_stopping")
        raise GraphError([Fault(path, f"early stopping needs {missing}")])
    if spec is None:
        return None
    validator = build(spec.validator, imports, ("engine", "validate"))
    if not isinstance(validator, Validator):
        kind = type(validator).__name__
        message = f"expected a validator such as mlograph.validation.Evaluate, got a {kind}"
        raise GraphError([Fault(("engine", "validate"), message)])
    return validator
