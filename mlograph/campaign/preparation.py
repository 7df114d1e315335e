"""A sweep before it begins: everything that can be wrong with it is said now."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from mlograph.api import Graph, load
from mlograph.campaign.axes import Axes, read_axes
from mlograph.campaign.folder import Request, identity
from mlograph.campaign.search import as_chosen
from mlograph.campaign.settings import Chosen, Run, count, repeated, settings
from mlograph.errors import Fault, GraphError, UsageError
from mlograph.language.faults import limited

MOST_RUNS = 1000

_ENOUGH = 50


@dataclass(frozen=True)
class Prepared:
    """A sweep that can begin.

    Attributes:
        request: what was asked for.
        axes: what is varied.
        runs: those that are known before, by setting; with Optuna, those that were checked.
        name: of the graph.
        total: runs in all.
        identity: of the sweep.
        warnings: about the graph.
    """

    request: Request
    axes: Axes
    runs: tuple[tuple[Run, ...], ...]
    name: str
    total: int
    identity: str
    warnings: tuple[Fault, ...]


def prepare(request: Request, most: int = MOST_RUNS) -> Prepared:
    """Checks a sweep: every run of it, or with Optuna every value that is listed.

    Raises:
        GraphError: an axis, or a run, is wrong.
        UsageError: there are too many runs, or what was asked for does not fit together.
    """
    axes = read_axes(request.words)
    _refuse(request, axes)
    if request.trials is None:
        total = count(axes, request.draws)
        chosen = settings(axes, request.draws, request.draw_seed)
    else:
        total = request.trials * (len(axes.seeds.choices) if axes.seeds else 1)
        chosen = iter(as_chosen(axes))
    if total > most:
        hint = f"--max-runs {total} allows them"
        if request.draws is None and request.trials is None and axes.varied:
            hint = f"--random N draws some, {hint}"
        raise UsageError(f"{total:,} runs, at most {most:,} ({hint})")
    finished, graphs = _checked(request, axes, chosen)
    texts = [graph.to_yaml() for graph in graphs]
    if request.trials is not None:
        texts += [*request.words, request.metric, request.direction, str(request.draw_seed)]
    return Prepared(
        request,
        axes,
        tuple(finished),
        graphs[0].spec.name,
        total,
        identity(texts, request),
        graphs[0].check(),
    )


def _checked(
    request: Request, axes: Axes, chosen: Iterable[Chosen]
) -> tuple[list[tuple[Run, ...]], list[Graph]]:
    """The runs of all settings, and their graphs.

    Raises:
        GraphError: everything that is wrong with them, each thing once.
    """
    finished: list[tuple[Run, ...]] = []
    graphs: list[Graph] = []
    faults: dict[Fault, None] = {}
    for number, each in enumerate(chosen):
        runs = []
        for run in repeated(axes, number, each):
            try:
                done, graph = completed(request, axes, run)
            except GraphError as error:
                faults |= dict.fromkeys(error.faults)
                continue
            runs.append(done)
            graphs.append(graph)
        finished.append(tuple(runs))
        if len(faults) >= _ENOUGH:
            break
    if faults:
        raise GraphError(limited(faults))
    return finished, graphs


def completed(request: Request, axes: Axes, run: Run) -> tuple[Run, Graph]:
    """A run with what its graph says of it, and one thread where the graph leaves that open.

    Raises:
        GraphError: it is wrong.
    """
    try:
        graph = load(request.graph, run.overrides, request.allow)
        graph.check()
    except GraphError as error:
        raise axes.located(error.faults, run.chosen) from error
    engine = graph.spec.engine
    # Said in the run's own words, so that its command repeats it to the last bit.
    own = ("engine.threads=1",) if engine.threads is None else ()
    overrides = (*run.overrides, *own)
    run = replace(run, overrides=overrides, steps=engine.steps, threads=engine.threads or 1)
    return run, graph


def _refuse(request: Request, axes: Axes) -> None:
    """Refuse what does not fit together.

    Raises:
        UsageError: it does not.
    """
    if request.draws is not None and request.trials is not None:
        raise UsageError("--random and --optuna exclude one another")
    for name, number in (("--random", request.draws), ("--optuna", request.trials)):
        if number is not None and number < 1:
            raise UsageError(f"{name} {number}: at least 1")
        if number is not None and not axes.varied:
            raise UsageError(f"{name}: nothing but seeds is varied")
    if request.trials is not None and not request.metric:
        raise UsageError("--optuna needs --metric, such as --metric accuracy")
    if not axes.axes:
        raise UsageError("nothing is varied: give several values, as in engine.seed=0..4")
