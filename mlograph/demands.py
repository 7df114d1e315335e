"""What inner loops and hypergradient methods ask of modules and optimisers that were built."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from torch.optim import Optimizer

from mlograph.errors import Fault
from mlograph.graph import ProblemGraph
from mlograph.language.methods import Forward
from mlograph.model import Model
from mlograph.optimizers import is_differentiable
from mlograph.plan import Plan, Visit


def start_faults(graph: ProblemGraph, name: str, models: Mapping[str, Model]) -> Iterator[Fault]:
    """An inner loop starts only from a module of the same architecture."""
    start = graph.problems[name].start_from
    if start is None or name not in models or start not in models:
        return
    if not models[start].same_architecture(models[name]):
        yield Fault(
            ("problems", name, "start_from"),
            f"'{name}' cannot start from '{start}': their parameters differ in names or shapes",
            f"write 'module: {{copy: {start}}}'",
        )


def unroll_faults(graph: ProblemGraph, name: str, optimizer: Optimizer) -> Iterator[Fault]:
    """What is gone through again must be plain steps of an optimiser that can be differentiated."""
    spec, path = graph.problems[name], ("problems", name)
    method = spec.hypergradient
    if not graph.uppers(name):
        return
    if method.through_optimizer and not is_differentiable(optimizer):
        message = f"torch cannot differentiate a step of {type(optimizer).__name__}"
        hint = f"'{method.method}' needs an optimiser with 'differentiable', as Adam has it"
        yield Fault((*path, "optimizer"), message, hint)
    if method.records == "nothing":
        return
    if spec.precision == "fp16":
        message = f"'{method.method}' cannot go through an fp16 inner loop again"
        yield Fault((*path, "precision"), message, "use bf16")
    for hook in ("on_gradient", "after_update"):
        if hook in spec.callbacks.model_fields_set:
            message = f"'{hook}' changes what '{method.method}' could not go through again"
            yield Fault((*path, "callbacks", hook), message)


def loop_faults(graph: ProblemGraph, plan: Plan) -> Iterator[Fault]:
    """What is recorded is an inner loop; a problem with nothing above it has none."""
    pulled = {visit.problem for visit in _visits(plan)}
    for name, spec in graph.problems.items():
        method = spec.hypergradient
        recorded = method.records != "nothing" and name in pulled
        if recorded and not graph.uppers(name):
            kind, path = method.method, ("problems", name, "hypergradient")
            message = f"'{kind}' needs an inner loop to record, and nothing lies above '{name}'"
            yield Fault(path, message, "use cg or another implicit method")


def direction_faults(
    graph: ProblemGraph, plan: Plan, models: Mapping[str, Model]
) -> Iterator[Fault]:
    """Forward mode carries a derivative for each parameter of all that it sends to."""
    goals: dict[str, set[str]] = {}
    for visit in _visits(plan):
        if isinstance(graph.problems[visit.problem].hypergradient, Forward):
            goals.setdefault(visit.problem, set()).update(models.keys() & visit.sends_to)
    for name, targets in goals.items():
        count = sum(x.numel() for goal in targets for x in models[goal].params.values())
        if count > Forward.LARGEST:
            message = f"'forward' would carry {count:,} derivatives through every step of "
            message += f"'{name}', one for each parameter of {', '.join(sorted(targets))}; "
            message += f"at most {Forward.LARGEST:,}"
            hint = "use 'unroll', with 'checkpoint: steps' where memory is short"
            yield Fault(("problems", name, "hypergradient"), message, hint)


def _visits(plan: Plan) -> Iterator[Visit]:
    return (visit for sweep in plan.sweeps.values() for visit in sweep.visits)
