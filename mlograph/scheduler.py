"""From a graph to its plan: rates by balance equations, then a flat order of execution.

The graph is a synchronous-dataflow graph (Lee and Messerschmitt, 1987). With q[p] the number of
backward passes of p in one period, every l2u edge l → u demands q[l] = T_l · G_l · q[u], and
every problem makes whole updates: G_p divides q[p]. The smallest whole solution is laid out.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from fractions import Fraction
from math import gcd, lcm

import networkx as nx

from mlograph.errors import Fault, GraphError
from mlograph.graph import ProblemGraph, counted, edge_path, reads_env
from mlograph.plan import (
    Backward,
    EnvStep,
    Instruction,
    Plan,
    Rate,
    Start,
    Step,
    Update,
)
from mlograph.sweeps import sweeps
from mlograph.windows import windows

LONGEST_PERIOD = 100_000


def schedule(graph: ProblemGraph) -> Plan:
    """The plan of a graph.

    Raises:
        GraphError: rates without a solution, or a period too long to be laid out.
    """
    passes = balance(graph)
    period = tuple(_Layout(graph, graph.order).run(graph.tops, passes))
    rates = {
        name: Rate(count, count // graph.problems[name].gradient_accumulation)
        for name, count in passes.items()
    }
    answering = sweeps(graph)
    return Plan(
        prologue=tuple(_warmup(graph, passes)),
        period=period,
        rates=rates,
        sweeps=answering,
        counted=counted(graph),
        steps=graph.spec.engine.steps,
        inner=_inner(graph),
        tasks=tuple(windows(graph, period, answering)),
    )


def balance(graph: ProblemGraph) -> dict[str, int]:
    """q: backward passes of every problem in one period.

    Raises:
        GraphError: two uppers ask a lower problem for different rates, or q is too large.
    """
    faults = conflicts(graph) or excess(graph)
    if faults:
        raise GraphError(faults)
    whole = _solution(graph)
    return {name: whole[name] for name in graph.order}


def conflicts(graph: ProblemGraph) -> list[Fault]:
    """Edges that ask for another rate than other edges do: one in each block of the hierarchy.

    Two blocks share one problem at most. Within a block, one wrong number may upset many edges.
    """
    found: list[Fault] = []
    for block in nx.biconnected_component_edges(nx.Graph(graph.hierarchy.edges)):
        if len(block) > 1:
            found += _propagate(graph, {name for edge in block for name in edge})[1][:1]
    return found


def excess(graph: ProblemGraph, *, exact: bool = True) -> list[Fault]:
    """That a period is too long to be laid out, where the rates have a solution.

    Args:
        graph: of whose l2u edges some may be left out, which makes no period longer.
        exact: none are.
    """
    whole = _solution(graph)
    if sum(whole.values()) <= LONGEST_PERIOD:
        return []
    most = max(whole, key=whole.__getitem__)
    least = "" if exact else "at least "
    return [
        Fault(
            ("problems", most),
            f"one period would take {least}{whole[most]:,} backward passes of '{most}' "
            f"({sum(whole.values()):,} in all; at most {LONGEST_PERIOD:,})",
            "unroll_steps and gradient_accumulation multiply along the l2u edges",
        )
    ]


def _solution(graph: ProblemGraph) -> dict[str, int]:
    whole: dict[str, int] = {}
    for group in nx.weakly_connected_components(graph.hierarchy):
        whole.update(_smallest(graph, _propagate(graph, group)[0]))
    return whole


def _propagate(
    graph: ProblemGraph, members: Collection[str]
) -> tuple[dict[str, Fraction], list[Fault]]:
    """Rates relative to one of the members by walking the l2u edges between them both ways."""
    start = next(name for name in reversed(graph.order) if name in members)
    rates = {start: Fraction(1)}
    asked_by: dict[str, tuple[str, str]] = {}
    faults: list[Fault] = []
    queue = [start]
    for name in queue:
        edges = [(lower, name) for lower in graph.lowers(name) if lower in members]
        edges += [(name, upper) for upper in graph.uppers(name) if upper in members]
        for lower, upper in edges:
            factor = _passes_per_pass(graph, lower)
            other = upper if name == lower else lower
            rate = rates[name] / factor if other == upper else rates[name] * factor
            if other not in rates:
                rates[other] = rate
                asked_by[other] = (lower, upper)
                queue.append(other)
            elif rates[other] != rate and name != other:
                fault = _conflict(graph, (lower, upper), asked_by, rates)
                if fault not in faults:
                    faults.append(fault)
    return rates, faults


def _passes_per_pass(graph: ProblemGraph, lower: str) -> int:
    problem = graph.problems[lower]
    return problem.unroll_steps * problem.gradient_accumulation


def _conflict(
    graph: ProblemGraph,
    edge: tuple[str, str],
    asked_by: Mapping[str, tuple[str, str]],
    rates: Mapping[str, Fraction],
) -> Fault:
    lower, upper = edge
    factor = _passes_per_pass(graph, lower)
    wanted, given = rates[upper] * factor, rates[lower]
    first = asked_by.get(lower) or asked_by.get(upper) or edge
    scale = lcm(wanted.denominator, given.denominator)
    return Fault(
        edge_path(graph, "l2u", *edge),
        f"rates without a solution: 'l2u: {lower} -> {upper}' asks for "
        f"{wanted * scale} passes of '{lower}' where 'l2u: {first[0]} -> {first[1]}' "
        f"leads to {given * scale}",
        f"{_rate_text(graph, lower)}; make both sides ask for the same",
    )


def _rate_text(graph: ProblemGraph, lower: str) -> str:
    parts = []
    for name in (*graph.uppers(lower), lower):
        problem = graph.problems[name]
        parts.append(
            f"{name}: unroll_steps {problem.unroll_steps}, "
            f"gradient_accumulation {problem.gradient_accumulation}"
        )
    return "; ".join(parts)


def _smallest(graph: ProblemGraph, rates: Mapping[str, Fraction]) -> dict[str, int]:
    whole = lcm(*(rate.denominator for rate in rates.values()))
    counts = {name: int(rate * whole) for name, rate in rates.items()}
    common = gcd(*counts.values())
    counts = {name: count // common for name, count in counts.items()}
    scale = 1
    for name, count in counts.items():
        accumulation = graph.problems[name].gradient_accumulation
        scale = lcm(scale, accumulation // gcd(accumulation, count))
    return {name: count * scale for name, count in counts.items()}


class _Layout:
    """Lays passes out one by one: lowers first, and no lower runs on while an upper waits."""

    def __init__(self, graph: ProblemGraph, members: Iterable[str]) -> None:
        self._graph = graph
        inside = set(members)
        self._lowers = {p: [x for x in graph.lowers(p) if x in inside] for p in inside}
        self._uppers = {p: [x for x in graph.uppers(p) if x in inside] for p in inside}
        self._updates_made: Counter[tuple[str, str]] = Counter()
        self._passes_made: Counter[str] = Counter()
        self._env_used_by: set[str] | None = None

    def run(self, goals: Iterable[str], passes: Mapping[str, int]) -> Iterator[Instruction]:
        """Instructions until each goal has made its `passes`, with all they need."""
        for goal in goals:
            while self._passes_made[goal] < passes[goal]:
                yield from self._one_pass(goal)

    def _one_pass(self, goal: str) -> Iterator[Instruction]:
        waiting, opened = [goal], set[str]()
        while waiting:
            problem = waiting[-1]
            hungry = self._hungry_upper(problem, waiting)
            if hungry is None and problem not in opened and self._asks_env(problem):
                hungry = self._hungry_below(problem, waiting)
            if hungry is not None:
                waiting.append(hungry)
                continue
            # Only now: a loop that begins may restart what the hungry upper had still to read.
            if problem not in opened:
                opened.add(problem)
                yield from self._open(problem)
            lower = self._missing_lower(problem)
            if lower is not None:
                waiting.append(lower)
                continue
            opened.discard(waiting.pop())
            yield from self._fire(problem)

    def _hungry_upper(self, problem: str, waiting: list[str]) -> str | None:
        """An upper whose inner loop of `problem` is complete, and which acts before it moves."""
        length = self._graph.problems[problem].unroll_steps
        for upper in self._uppers[problem]:
            if self._updates_made[problem, upper] >= length and upper not in waiting:
                return upper
        return None

    def _hungry_below(self, problem: str, waiting: list[str]) -> str | None:
        """An upper that still has to judge, on the batches of now, what `problem` needs anew."""
        seen, below = {problem}, [problem]
        while below:
            for lower in self._lowers[below.pop()]:
                hungry = self._hungry_upper(lower, [*waiting, problem])
                if hungry is not None:
                    return hungry
                if lower not in seen:
                    seen.add(lower)
                    below.append(lower)
        return None

    def _missing_lower(self, problem: str) -> str | None:
        """A lower problem whose inner loop for `problem` is not complete yet."""
        for lower in self._lowers[problem]:
            if self._updates_made[lower, problem] < self._graph.problems[lower].unroll_steps:
                return lower
        return None

    def _open(self, problem: str) -> Iterator[Instruction]:
        """What comes before the first pass of a loop, and before the loops below it."""
        if self._uses_env(problem):
            if self._asks_env(problem):
                self._env_used_by = set()
                yield EnvStep()
            assert self._env_used_by is not None
            self._env_used_by.add(problem)
        if self._begins(problem) and self._uppers[problem]:
            yield Start(problem)

    def _begins(self, problem: str) -> bool:
        spec = self._graph.problems[problem]
        loop = spec.unroll_steps * spec.gradient_accumulation if self._uppers[problem] else 1
        return self._passes_made[problem] % loop == 0

    def _uses_env(self, problem: str) -> bool:
        """Whether the next pass wants batches that the pass before it has not had."""
        env = self._graph.spec.env
        if env is None or not reads_env(self._graph.problems[problem]):
            return False
        return env.step_every == "step" or self._begins(problem)

    def _asks_env(self, problem: str) -> bool:
        """A reader that has used the current batches already asks for the next ones."""
        used = self._env_used_by
        return self._uses_env(problem) and (used is None or problem in used)

    def _fire(self, problem: str) -> Iterator[Instruction]:
        for lower in self._lowers[problem]:
            self._updates_made[lower, problem] -= self._graph.problems[lower].unroll_steps
        self._passes_made[problem] += 1
        accumulation = self._graph.problems[problem].gradient_accumulation
        whole = self._passes_made[problem] % accumulation == 0
        if whole:
            for upper in self._uppers[problem]:
                self._updates_made[problem, upper] += 1
        if accumulation == 1:
            yield Step(problem)
        else:
            yield Backward(problem)
            if whole:
                yield Update(problem)


def _inner(graph: ProblemGraph) -> tuple[Instruction, ...]:
    """One pass of the counted problem with all below it, without that pass itself."""
    name = counted(graph)
    layout = _Layout(graph, graph.below[name] | {name})
    own = (Backward(name), Update(name), Step(name))
    return tuple(one for one in layout.run([name], {name: 1}) if one not in own)


def _warmup(graph: ProblemGraph, passes: Mapping[str, int]) -> Iterator[Instruction]:
    """Own updates of every problem with `warmup_steps`, lower ones first, nothing above moving.

    Raises:
        GraphError: they would be too many to be laid out.
    """
    total = 0
    for name, spec in graph.problems.items():
        if not spec.warmup_steps:
            continue
        moving = sum(passes[other] for other in graph.below[name] | {name})
        total += spec.warmup_steps * spec.gradient_accumulation * moving // passes[name]
        if total > LONGEST_PERIOD:
            message = f"the warm-up would take {total:,} backward passes, at most "
            path = ("problems", name, "warmup_steps")
            raise GraphError([Fault(path, f"{message}{LONGEST_PERIOD:,}")])
    for name in graph.order:
        spec = graph.problems[name]
        if spec.warmup_steps:
            layout = _Layout(graph, graph.below[name] | {name})
            yield from layout.run([name], {name: spec.warmup_steps * spec.gradient_accumulation})
