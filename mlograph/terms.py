"""What a loss function receives for each of its arguments, and whether the edges allow it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, get_args, get_type_hints

from mlograph.components import check_arguments, parameters_of
from mlograph.errors import Fault, GraphError, did_you_mean
from mlograph.errors import Path as SpecPath
from mlograph.graph import ProblemGraph, edge_path
from mlograph.language.spec import ProblemSpec
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


def option_faults(
    graph: ProblemGraph, name: str, option: str, term: Term, path: SpecPath
) -> Iterator[Fault]:
    """What gives an option of the optimiser reads problems that an u2l edge leads from."""
    if "batch" in term.wants:
        yield Fault(path, "a hyperparameter is no function of a batch")
    for other in sorted(term.reads - {*graph.constraints.predecessors(name)}):
        above = name in graph.below[other]
        yield Fault(
            path,
            f"'{option}' of '{name}' reads '{other}' "
            + ("without an edge" if above else "which does not lie above"),
            f"add 'u2l: {other} -> {name}' to edges" if above else "",
        )


def read_faults(
    graph: ProblemGraph,
    name: str,
    terms: Sequence[Term],
    path: SpecPath,
    options: Mapping[str, Term] = MappingProxyType({}),
) -> Iterator[Fault]:
    """Losses read what the edges declare: nothing else, and nothing less.

    What only gives an option of the optimiser counts as well, for a method that looks at options.
    """
    allowed = graph.reads[name] | {name}
    read = frozenset[str]().union(*(term.reads for term in terms))
    for other in sorted(read - allowed):
        below = other in graph.below[name]
        kind = "u2l" if name in graph.below[other] and not below else "l2u"
        yield Fault(
            path,
            f"the loss of '{name}' reads '{other}' without an edge",
            f"add '{kind}: {other} -> {name}' to edges",
        )
    spec = graph.problems[name]
    for other in sorted(allowed - read - {name}):
        kind = "l2u" if other in graph.lowers(name) else "u2l"
        if other == spec.start_from:
            yield from _start_faults(spec, name, other)
            continue
        given = [option for option, term in options.items() if other in term.reads]
        if given:
            if not spec.hypergradient.through_hyperparameters:
                yield Fault(
                    ("problems", name, "hypergradient"),
                    f"'{spec.hypergradient.method}' differentiates the loss of '{name}', which "
                    f"does not read '{other}'; it does not see that '{given[0]}' does",
                    "use 'unroll'",
                )
            continue
        yield Fault(
            edge_path(graph, kind, other, name),
            f"the loss of '{name}' does not read '{other}'",
            f"give the loss an argument '{other}', or remove the edge",
        )


def _start_faults(spec: ProblemSpec, name: str, origin: str) -> Iterator[Fault]:
    """A problem that a loop starts from, and that its loss does not read."""
    method, path = spec.hypergradient, ("problems", name, "hypergradient")
    add = "add a term such as mlograph.losses.proximal"
    if not method.through_start:
        yield Fault(
            path,
            f"'{method.method}' differentiates the loss of '{name}', which does not read "
            f"'{origin}'; it does not see that the inner loop starts there",
            f"{add}, or use 'unroll'",
        )
    elif not method.reaches_start(spec.unroll_steps):
        yield Fault(
            (*path, "truncate"),
            f"the last steps of a loop of {spec.unroll_steps} do not reach its start, and the loss "
            f"of '{name}' does not read '{origin}' in any other way",
            f"{add}, or write 'truncate: {spec.unroll_steps}'",
        )
