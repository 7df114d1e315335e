"""One run, from a plan to its result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from functools import partial
from pathlib import Path

import torch

from mlograph.allocation import kept
from mlograph.checkpoints import Signals, TooLongError, differences, facts, understood, within
from mlograph.components import Imports
from mlograph.errors import Interruption, MlographError, StorageError
from mlograph.graph import ProblemGraph
from mlograph.keeping import Keeper
from mlograph.loggers.protocol import Logger
from mlograph.painters import Painter
from mlograph.parts import built
from mlograph.pictures import Picture
from mlograph.plan import OneByOne, Plan
from mlograph.portraits import portraits
from mlograph.prefetch import Prefetching
from mlograph.profiling import Watch
from mlograph.program import Program
from mlograph.randomness import seed_everything
from mlograph.result import RunResult
from mlograph.snapshot import placed_on
from mlograph.training import Training
from mlograph.wording import approximations

# Seconds for which an interrupted run may draw what it has learned.
_PATIENCE = 1.0


def run(  # noqa: PLR0913  (what a caller may ask for)
    graph: ProblemGraph,
    plan: Plan,
    imports: Imports,
    loggers: Sequence[Logger] = (),
    checkpoint: Path | None = None,
    again: Callable[[str], None] | None = None,
    learned: Callable[[Sequence[Picture]], None] | None = None,
    *,
    ends_process: bool = False,
    watch: Watch | None = None,
    hide: Callable[[str], str] = str,
) -> RunResult:
    """Build a graph and execute its plan.

    Args:
        graph: what to build.
        plan: its schedule.
        imports: where components may come from.
        loggers: told of everything that happens; closed at the end.
        checkpoint: a folder for its state, if it shall be saved.
        again: go on from the newest state in that folder, which is whole; called with what is not
            as it was. Where none was ever saved, the run begins anew.
        learned: called with pictures of what an interrupted run had learned so far, as far as they
            are drawn in a second.
        ends_process: a second Ctrl-C ends the process, not only the run.
        watch: what shall be told or measured of each instruction.
        hide: takes what came from the environment out of a text that is told or saved.

    Raises:
        Interruption: a signal came; the state was saved.
        StorageError: the state cannot be saved, or none that was can be read.
        GraphError: something cannot be built.
        UsageError: the user's code or data failed.
        NumericError: values that are not finite, or a hypergradient that is structurally zero.
    """
    engine, signals = graph.spec.engine, Signals(ends_process=ends_process)
    with ExitStack() as stack:
        for logger in loggers:
            stack.callback(logger.close)
        if checkpoint is not None and engine.checkpoint.on_signal:
            # What comes while the graph is built ends the run in its first step.
            stack.enter_context(signals.caught())
        if engine.threads is not None:
            torch.set_num_threads(engine.threads)
        seed_everything(engine.seed)
        parts = built(graph, plan, imports, checkpoint.parent if checkpoint else None)
        for logger in parts.loggers:
            stack.callback(logger.close)
        observer = watch.observer(parts.program.device) if watch is not None else None
        stack.enter_context(_memory(parts.program, watch))
        keeper = Keeper(checkpoint, engine.checkpoint, signals, observer) if checkpoint else None
        prefetching = Prefetching.of(engine.execution.prefetch, parts.program)
        stack.callback(prefetching.close)
        training = Training(
            parts.program,
            engine,
            parts.validator,
            (*loggers, *parts.loggers),
            tuple(_notes(graph, plan)),
            keeper,
            observer,
            prefetching,
            hide,
        )
        stack.callback(training.executor.close)
        if keeper is not None:
            keeper.store.clean()
            if again is not None:
                _go_on(training, keeper, again)
        draw = partial(_pictures, graph, training, parts.painters)
        with _drawing_if_interrupted(draw, learned):
            training.train()
        pictures = draw()
    return _result(graph.spec.name, training, watch, pictures)


def _memory(program: Program, watch: Watch | None) -> AbstractContextManager[None]:
    """Memory is kept between updates, but where a profile shall tell who takes it."""
    profiled = watch is not None and watch.profile is not None
    return nullcontext() if profiled or program.device.type != "cpu" else kept()


@contextmanager
def _drawing_if_interrupted(
    draw: Callable[[float], Sequence[Picture]], learned: Callable[[Sequence[Picture]], None] | None
) -> Iterator[None]:
    try:
        yield
    except Interruption:
        if learned is not None:
            # What stopped the run is what its reader must see.
            with suppress(MlographError):
                learned(draw(_PATIENCE))
        raise


def _result(
    name: str, training: Training, watch: Watch | None, pictures: tuple[Picture, ...]
) -> RunResult:
    progress, problems = training.progress, training.program.problems
    assert progress.ended is not None, "it has been trained"
    return RunResult(
        name=name,
        steps=progress.steps,
        seconds=progress.elapsed,
        ended=progress.ended,
        records=tuple(training.journal.records),
        modules={name: problem.model.module for name, problem in problems.items()},
        profile=watch.profile if watch is not None else None,
        pictures=pictures,
    )


def _pictures(
    graph: ProblemGraph,
    training: Training,
    painters: Sequence[Painter],
    seconds: float | None = None,
) -> tuple[Picture, ...]:
    """What can be drawn of what was learned, in the time given; no run fails by it."""
    program = training.program
    modules = {name: problem.model.module for name, problem in program.problems.items()}
    sources = {edge.source for edge in graph.spec.edges if edge.kind == "u2l"}
    found: list[Picture] = []
    trial = training.trial(final=True)
    uppers = [name for name in program.problems if name in sources]
    ways: list[Callable[[], Sequence[Picture]]] = [partial(portraits, modules, uppers)]
    ways += [partial(one.paint, trial) for one in painters]
    try:
        with within(seconds):
            for draw in ways:
                try:
                    found += draw()
                except Exception as error:
                    reason = f"{type(error).__name__}: {error}"
                    training.journal.tell(f"what was learned cannot be drawn: {reason}")
    except TooLongError:
        training.journal.tell(
            f"not all that was learned is drawn: it takes more than {seconds:g} s"
        )
    return tuple(found)


def _go_on(training: Training, keeper: Keeper, tell: Callable[[str], None]) -> None:
    """Make a run what it was when it was last saved, and say what differs since then.

    Raises:
        StorageError: there are checkpoints, and none that is whole and of this graph.
    """
    found = keeper.store.load(placed_on(training.program.device))
    if found is None:
        tell("there is no checkpoint yet: the run begins anew")
        return
    for remark in found.remarks:
        tell(remark)
    try:
        with understood(found.state):
            _compare(training, dict(found.state["machine"]), tell)
            training.resume(found.state)
    except StorageError as error:
        raise StorageError(f"{found.path}: {error}") from error


def _compare(training: Training, then: dict[str, str], tell: Callable[[str], None]) -> None:
    """Compute with as many threads as then, and say what else differs."""
    if training.engine.threads is None and int(then["threads"]) != torch.get_num_threads():
        torch.set_num_threads(int(then["threads"]))
        tell(f"going on with {then['threads']} threads, as before")
    different = list(differences(then, facts(training.program.device)))
    for difference in different:
        tell(difference)
    if different:
        tell("results may differ from those of a run that was not interrupted")


def _notes(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    """What the user should know beforehand: what is approximate, and what cannot be had."""
    for text in approximations(graph, plan):
        yield f"approximate: {text}"
    if graph.spec.engine.execution.tasks not in {"auto", "sequential"}:
        refused = [one for one in plan.tasks if isinstance(one, OneByOne)]
        for one in refused:
            yield f"tasks: loops below '{one.upper}' run one by one: {one.reason}"
        if not plan.tasks:
            yield "tasks: there are no inner loops that start anew, so none are run at once"
