"""Inner loops that do not depend on one another: found in a period, or why there are none.

The passes that an upper problem accumulates into one update all see the same upper parameters. If
the loop below each starts anew from these, no loop depends on another: they may be run at once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain

from mlograph.graph import ProblemGraph
from mlograph.language.methods import (
    ConjugateGradient,
    Darts,
    Exact,
    FirstOrder,
    Identity,
    Method,
    Neumann,
    Soba,
    Unroll,
)
from mlograph.language.spec import Component, Live, ProblemSpec
from mlograph.plan import Backward, Instruction, OneByOne, Sweep, Tasks, Way

# Optimisers whose step moves every number by itself, so that a task axis changes nothing.
ELEMENTWISE = frozenset(
    {
        "adadelta",
        "adagrad",
        "adam",
        "adamax",
        "adamw",
        "asgd",
        "nadam",
        "radam",
        "rmsprop",
        "rprop",
        "sgd",
    }
)

# Ways beside one after another, as a plan calls them.
_WORDS: Mapping[Way, str] = {
    "vectorized": "at once",
    "processes": "in worker processes",
    "both": "at once in worker processes",
}

_METHODS = (ConjugateGradient, Darts, Exact, FirstOrder, Identity, Neumann, Unroll)


def windows(
    graph: ProblemGraph, period: tuple[Instruction, ...], sweeps: Mapping[str, Sweep]
) -> Iterator[Tasks | OneByOne]:
    """For every problem above loops that start anew: these loops, or why they run one by one."""
    execution = graph.spec.engine.execution
    for upper in graph.problems:
        lowers = graph.lowers(upper)
        if not any(graph.problems[name].start_from for name in lowers):
            continue
        reason = "asked for (engine.execution.tasks)" if execution.tasks == "sequential" else ""
        reason = reason or next(_reasons(graph, upper, sweeps), "")
        against = {} if reason else _against(graph, lowers[0])
        ways = _ways(execution.tasks, against)
        reason = reason or ("" if ways else "; ".join(dict.fromkeys(against.values())))
        if reason:
            yield OneByOne(upper, reason)
            continue
        count = graph.problems[upper].gradient_accumulation
        body = _body(period, upper)
        if not _holds(period, body, count, upper):
            yield OneByOne(upper, "other problems move between them")
            continue
        yield Tasks(
            upper,
            lowers[0],
            count,
            body,
            ways,
            # What speaks against both has been said of one of them.
            tuple(f"{_WORDS[w]}: {why}" for w, why in against.items() if ways[1:] and w != "both"),
            chunk=execution.chunk,
            workers=execution.workers,
        )


def _against(graph: ProblemGraph, lower: str) -> dict[Way, str]:
    """Why loops that are independent cannot be run in one or another way, which was asked for."""
    below, wanted = graph.problems[lower], graph.spec.engine.execution.tasks
    at_once = next(chain(_of_loop(lower, below), _of_method(lower, below.hypergradient)), "")
    in_workers = next(_of_processes(graph), "")
    found: dict[Way, str] = {
        "vectorized": at_once,
        "processes": in_workers,
        "both": at_once or in_workers,
    }
    return {way: why for way, why in found.items() if why and wanted in {"auto", way}}


def _ways(wanted: str, against: Mapping[Way, str]) -> tuple[Way, ...]:
    """How loops may be run; none where it comes down to one after another."""
    if wanted != "auto":
        return tuple(way for way in _WORDS if way == wanted and way not in against)
    others = [way for way in _WORDS if way not in against]
    return ("sequential", *others) if others else ()


def _body(period: tuple[Instruction, ...], upper: str) -> tuple[Instruction, ...]:
    """What leads to the second pass of `upper`, that pass included."""
    first, second = [at for at, one in enumerate(period) if one == Backward(upper)][:2]
    return period[first + 1 : second + 1]


def _holds(
    period: tuple[Instruction, ...], body: tuple[Instruction, ...], count: int, upper: str
) -> bool:
    """Whether the first `count` passes of `upper` come one right after another."""
    first = period.index(Backward(upper)) + 1 - len(body)
    return first >= 0 and period[first : first + len(body) * count] == body * count


def _reasons(graph: ProblemGraph, upper: str, sweeps: Mapping[str, Sweep]) -> Iterator[str]:
    """Why the loops below a problem must run one by one; nothing if they need not."""
    lowers = graph.lowers(upper)
    lower = lowers[0]
    if graph.problems[upper].gradient_accumulation == 1:
        yield f"'{upper}' makes an update from every pass (gradient_accumulation 1)"
    if len(lowers) > 1:
        yield f"several problems lie below '{upper}'"
    if graph.lowers(lower):
        yield f"'{lower}' has problems below it"
    if len(graph.uppers(lower)) > 1:
        yield f"several problems lie above '{lower}'"
    if graph.uppers(upper):
        yield f"'{upper}' has problems above it"
    if [(visit.problem, visit.sends_to) for visit in sweeps[upper].visits] != [(lower, (upper,))]:
        yield f"the hypergradient of '{upper}' does not come through '{lower}' alone"
    yield from _of_pair(graph, upper, lower)


def _of_pair(graph: ProblemGraph, upper: str, lower: str) -> Iterator[str]:
    """Why what two problems are declared with does not allow it."""
    below = graph.problems[lower]
    for name in (upper, lower):
        if graph.problems[name].precision == "fp16":
            yield f"'{name}' scales its losses (fp16)"
    hooks = sorted(below.callbacks.model_fields_set)
    if hooks:
        yield f"'{hooks[0]}' of '{lower}' is called in each loop"
    if _is_warm(below.hypergradient):
        yield f"each linear system of '{lower}' starts at the last one's solution (warm_start)"


def _of_processes(graph: ProblemGraph) -> Iterator[str]:
    """Why a problem cannot be made again in another process, or need not be."""
    device, execution = graph.spec.engine.device, graph.spec.engine.execution
    if execution.tasks == "auto" and execution.workers == 1:
        yield "one worker is no faster (workers: 1)"
    if device not in {"auto", "cpu"}:
        yield f"the run is on {device}, which one process has to itself"
    for name in graph.problems:
        spec = graph.problems[name]
        for what, component in (("optimizer", spec.optimizer), ("scheduler", spec.scheduler)):
            if isinstance(component, Live):
                yield f"the {what} of '{name}' is an object of this process"


def _of_loop(name: str, spec: ProblemSpec) -> Iterator[str]:
    optimizer = _last_name(spec.optimizer)
    if optimizer.lower() not in ELEMENTWISE:
        yield f"a step of {optimizer}, the optimizer of '{name}', is not known to work elementwise"
    if spec.scheduler is not None and _last_name(spec.scheduler) == "ReduceLROnPlateau":
        yield f"the learning rate of '{name}' follows the loss of each loop"
    if spec.hyperparameters.given:
        yield f"options of the optimizer of '{name}' are learned"


def _of_method(name: str, method: Method) -> Iterator[str]:
    text = str(method.model_dump()["method"])
    if not isinstance(method, _METHODS):
        yield f"'{text}' of '{name}' takes one task at a time"
    if isinstance(method, ConjugateGradient) and method.precondition != "none":
        yield f"the preconditioner of '{name}' takes one task at a time"
    if isinstance(method, Unroll) and method.checkpoint != "none":
        yield f"steps of '{name}' are made again, one task at a time (checkpoint)"


def _is_warm(method: Method) -> bool:
    """Whether a pull begins where the last one ended."""
    return (
        method.is_warm if isinstance(method, Soba) else bool(method.model_dump().get("warm_start"))
    )


def _last_name(thing: Component | Live) -> str:
    if isinstance(thing, Live):
        return type(thing.value).__name__
    target = thing.target
    if isinstance(target, str):
        return target.rpartition(".")[2]
    return target.__name__ if isinstance(target, type) else type(target).__name__
