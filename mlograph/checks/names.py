"""Edges and references: whether what they name is there."""

from __future__ import annotations

from collections.abc import Iterator

from mlograph.checks.certainty import Certainty
from mlograph.errors import Fault, Path, did_you_mean, near_names
from mlograph.graph import env_batches
from mlograph.language.spec import Copy, EdgeSpec


def edge_faults(known: Certainty) -> Iterator[Fault]:
    """Edges that name no problem, one problem twice, or what another edge says already."""
    seen: dict[EdgeSpec, int] = {}
    for index, edge in enumerate(known.spec.edges):
        if not known.sure("edges", index):
            continue
        path = ("edges", index, edge.kind)
        if edge in seen:
            yield Fault(path, f"the same edge stands at edges[{seen[edge]}] already")
            continue
        seen[edge] = index
        for name in dict.fromkeys((edge.source, edge.target)):
            yield from _unknown(known, name, path)
        if edge.source == edge.target:
            yield Fault(
                path,
                f"an edge from '{edge.source}' to itself",
                "a loss may always read its own problem",
            )


def reference_faults(known: Certainty) -> Iterator[Fault]:
    """What else names a problem, or the Env, that is not there."""
    spec = known.spec
    for name, problem in spec.problems.items():
        path = ("problems", name)
        if isinstance(problem.module, Copy):
            yield from _copy_faults(known, name)
        if problem.start_from is not None:
            yield from _unknown(known, problem.start_from, (*path, "start_from"))
        batches = list(env_batches(problem.data))
        if batches and spec.env is None and known.sure("env"):
            yield Fault((*path, "data"), f"'env.{batches[0]}', but the graph has no 'env'")
    if spec.engine.of is not None:
        yield from _unknown(known, spec.engine.of, ("engine", "of"))


def _copy_faults(known: Certainty, name: str) -> Iterator[Fault]:
    problems = known.spec.problems
    chain = [name]
    while isinstance(module := problems[chain[-1]].module, Copy):
        path = ("problems", chain[-1], "module", "copy")
        if module.copy_of not in problems:
            if len(chain) == 1:
                yield from _unknown(known, module.copy_of, path)
            return
        if module.copy_of in chain:
            if module.copy_of == name:
                trail = " -> ".join([*chain, name])
                yield Fault(("problems", name, "module", "copy"), f"copies in a circle: {trail}")
            return
        chain.append(module.copy_of)


def _unknown(known: Certainty, name: str, path: Path) -> Iterator[Fault]:
    problems = known.spec.problems
    if name in problems or not known.sure("problems", name):
        return
    misnamed = known.doubts.keys
    near = near_names(name, problems) if misnamed else []
    if near and ("problems", near[0]) in misnamed:
        return  # once that problem has its right name, this may be it
    yield Fault(path, f"no problem '{name}'", did_you_mean(name, problems))
