"""The words that the printed plan and the diagrams share."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterator
from typing import Any

from mlograph.graph import ProblemGraph
from mlograph.language.methods import Damped, FixedPoint, Implicit, Method, Sama, Unroll
from mlograph.language.spec import Component, Copy, Live
from mlograph.plan import Plan
from mlograph.terminal import printable_line

_LONGEST_NAME = 40


def clipped(text: str, longest: int = _LONGEST_NAME) -> str:
    """`text` in one line of printable characters, its end left out where it is too long."""
    line = printable_line(" ".join(text.split()))
    return line if len(line) <= longest else line[: longest - 3].rstrip() + "..."


def short_name(thing: Component | Live | Copy) -> str:
    """What people call a component: the last part of its import path, or its class."""
    if isinstance(thing, Copy):
        return f"copy of {clipped(thing.copy_of)}"
    if isinstance(thing, Live):
        return clipped(type(thing.value).__name__)
    return clipped(_target_name(thing.target))


def _target_name(target: Any) -> str:
    if isinstance(target, str):
        # A function's name says little without its module: `gym.make`.
        parts = target.rsplit(".", 2)
        return parts[-1] if parts[-1][:1].isupper() else ".".join(parts[-2:])
    if isinstance(target, functools.partial):
        return _target_name(target.func)
    if isinstance(target, type) or inspect.isroutine(target):
        return target.__name__
    return type(target).__name__


def role(graph: ProblemGraph, name: str) -> str:
    """Where a problem stands: top, middle or leaf (alone, it is both)."""
    # Two that constrain each other stand beside one another.
    constrained = {*graph.constraints.successors(name)}
    constraining = {*graph.constraints.predecessors(name)}
    above = {*graph.uppers(name), *(constraining - constrained)}
    below = {*graph.lowers(name), *(constrained - constraining)}
    if not above:
        return "top" if below else "top, leaf"
    return "middle" if below else "leaf"


def method_text(method: Method) -> str:
    """`cg (iterations 5)`: a method with its counts and whatever differs from the defaults."""
    given = method.model_dump(exclude_defaults=True)
    options = [
        f"{name} {_value(value)}"
        for name, value in method.model_dump(exclude={"method"}).items()
        if name in given or (isinstance(value, int) and not isinstance(value, bool))
    ]
    name = method_name(method)
    return f"{name} ({', '.join(options)})" if options else name


def method_name(method: Method) -> str:
    """The name that a graph file gives a method."""
    return str(method.model_dump()["method"])


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return f"{value:g}" if isinstance(value, float) else str(value)


def is_answering(plan: Plan, name: str) -> bool:
    """Whether some hypergradient flows through the solution of a problem."""
    return name in plan.answering


def approximations(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    """In words, everything that the hypergradients of a plan leave out."""
    uppers: dict[str, list[str]] = {}
    for sweep in plan.sweeps.values():
        for text in sweep.approximations:
            uppers.setdefault(text, []).append(sweep.upper)
    for text, names in uppers.items():
        yield f"hypergradient of {', '.join(names)}: {text}"
    for name, spec in graph.problems.items():
        if spec.hypergradient.neglects and is_answering(plan, name):
            yield f"{method_text(spec.hypergradient)} through {name}: {spec.hypergradient.neglects}"
        yield from _by_option(graph, plan, name)
        yield from _by_loop(graph, plan, name)


def _by_option(graph: ProblemGraph, plan: Plan, name: str) -> Iterator[str]:
    """What an implicit method leaves out because of how it or its problem is set up."""
    problem = graph.problems[name]
    method = problem.hypergradient
    if not isinstance(method, Implicit) or not is_answering(plan, name):
        return
    kind = method_name(method)
    if isinstance(method, Damped) and method.damping:
        yield f"{kind} through {name}: damping {method.damping:g} is added to the Hessian"
    if problem.gradient_accumulation > 1 and problem.data is not None:
        yield f"{kind} through {name}: the Hessian is that of the last batch of an update"


def _by_loop(graph: ProblemGraph, plan: Plan, name: str) -> Iterator[str]:
    """What a method leaves out that goes through steps of an inner loop."""
    spec = graph.problems[name]
    method = spec.hypergradient
    if not is_answering(plan, name):
        return
    kind, last = method_name(method), method.truncate if isinstance(method, Unroll) else None
    if last is not None and last < spec.unroll_steps:
        yield f"{kind} through {name}: of its {spec.unroll_steps} steps, all but the last {last}"
    elif method.records != "nothing" and spec.start_from is None:
        # It goes back to where the loop began, which is not where it all began.
        yield f"{kind} through {name}: what its earlier loops owe to their uppers is left out"
    given = ", ".join(spec.hyperparameters.given)
    if given and not method.through_hyperparameters:
        yield f"{kind} through {name}: {given} is taken not to move its solution"
    of_one = isinstance(method, FixedPoint | Sama)
    if of_one and spec.gradient_accumulation > 1 and spec.data is not None:
        yield f"{kind} through {name}: the step is that of the last batch of an update"


def is_approximate(graph: ProblemGraph, plan: Plan, name: str) -> bool:
    """Whether something is left out where a hypergradient flows through a problem."""
    if not is_answering(plan, name):
        return False
    by_method = bool(graph.problems[name].hypergradient.neglects)
    by_option = any(_by_option(graph, plan, name))
    return (by_method or by_option or any(_by_loop(graph, plan, name))) or (
        bool(graph.nested_lowers[name])
        and any(
            sweep.approximations and name in {visit.problem for visit in sweep.visits}
            for sweep in plan.sweeps.values()
        )
    )
