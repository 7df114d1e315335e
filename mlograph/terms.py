"""What a loss function receives for each of its arguments, and whether the edges allow it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, get_args, get_type_hints

from mlograph.components import check_arguments, parameters_of
from mlograph.errors import Fault, GraphError, did_you_mean
from mlograph.errors import Path as SpecPath
from mlograph.graph import ProblemGraph, edge_path
from mlograph.problem import Term
from mlograph.views import View


def bind_term(
    function: Callable[..., Any],
    arguments: Mapping[str, Any],
    problems: Sequence[str],
    path: SpecPath,
) -> Term:
    """Decide what each argument of a loss function receives.

    A problem's view: where the graph file gives a problem's name (unless the function says it
    wants a `str`), or where the argument is named like a problem. `batch` and `step`: what they
    say. The rest comes from the graph file.

    Raises:
        GraphError: arguments that the function does not have, lacks, or that name no problem.
    """
    parameters = parameters_of(function)
    hints = _annotations(function)
    constants: dict[str, Any] = {}
    views: dict[str, str] = {}
    for name, value in arguments.items():
        if isinstance(value, str) and value in problems and not _takes_text(hints.get(name)):
            views[name] = value
        elif hints.get(name) is View:
            message, hint = f"no problem '{value}'", did_you_mean(str(value), problems)
            raise GraphError([Fault((*path, name), message, hint)])
        else:
            constants[name] = value
    for name in parameters:
        if name in problems and name not in arguments:
            views[name] = name
    wants = frozenset({"batch", "step"} & parameters.keys()) - arguments.keys()
    check_arguments(function, {**constants, **views, **dict.fromkeys(wants)}, path)
    return Term(function, constants, views, wants)


def _takes_text(hint: object) -> bool:
    """Whether an argument is declared to be a text, so that a problem's name is only that."""
    return hint is str or str in get_args(hint)


def _annotations(function: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        return get_type_hints(function)
    except (NameError, TypeError, AttributeError):
        return {}


def read_faults(
    graph: ProblemGraph, name: str, terms: Sequence[Term], path: SpecPath
) -> Iterator[Fault]:
    """Losses read what the edges declare: nothing else, and nothing less."""
    allowed = graph.reads(name) | {name}
    read = frozenset[str]().union(*(term.reads for term in terms))
    for other in sorted(read - allowed):
        below = other in graph.below(name)
        kind = "u2l" if name in graph.below(other) and not below else "l2u"
        yield Fault(
            path,
            f"the loss of '{name}' reads '{other}' without an edge",
            f"add '{kind}: {other} -> {name}' to edges",
        )
    spec = graph.problems[name]
    for other in sorted(allowed - read - {name}):
        kind = "l2u" if other in graph.lowers(name) else "u2l"
        if other == spec.start_from:
            if not spec.hypergradient.through_start:
                yield Fault(
                    ("problems", name, "hypergradient"),
                    f"'{spec.hypergradient.method}' differentiates the loss of '{name}', which "
                    f"does not read '{other}'; the start of the inner loop does not count for it",
                    "add a term such as mlograph.losses.proximal, or use 'unroll'",
                )
            continue
        yield Fault(
            edge_path(graph, kind, other, name),
            f"the loss of '{name}' does not read '{other}'",
            f"give the loss an argument '{other}', or remove the edge",
        )
