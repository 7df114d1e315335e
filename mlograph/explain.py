"""A plan in words: what `mlograph plan` prints."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence

from mlograph.evaluations import evaluations
from mlograph.graph import ProblemGraph, env_batches
from mlograph.language.spec import Component, EnvBatch, Recipe
from mlograph.plan import (
    EnvStep,
    Folded,
    Instruction,
    OneByOne,
    Plan,
    Repeat,
    Sweep,
    Tasks,
    Visit,
    Way,
    fold,
)
from mlograph.terminal import printable_line
from mlograph.wording import approximations, is_answering, method_text, role, short_name

WIDTH = 96
_INDENT = 13
_MOST_LINES = 60
_MOST_NAMES = 40


def explain(graph: ProblemGraph, plan: Plan) -> str:
    """The plan of a graph as plain text: who moves when, and how hypergradients come back.

    The text depends on nothing but its arguments, and a line holds no control characters.
    """
    sections = [
        list(_header(graph, plan)),
        list(_table(graph, plan)),
        [
            *_paragraph("order", [" → ".join(graph.order)]),
            *_env(graph, plan),
            *_given(graph),
            *_instructions("prologue", plan.prologue),
            *_instructions("period", plan.period),
            *_tasks(plan),
            *_compiled(graph, plan),
            *_prefetched(graph),
            *_evaluations(graph, plan),
        ],
        *([*_sweep(graph, plan, sweep)] for sweep in plan.sweeps.values() if sweep.visits),
        [*_direct_only(graph, plan), *_approximate(graph, plan)],
    ]
    return "\n\n".join("\n".join(map(printable_line, section)) for section in sections) + "\n"


def _header(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    rate = plan.rates[plan.counted].updates
    each = "" if rate == 1 else f" of {rate} each"
    yield (
        f"{graph.spec.name}: {_count(plan.steps, 'update')} of {plan.counted}, "
        f"{_count(plan.periods, 'period')}{each}"
    )
    yield from textwrap.wrap(
        graph.spec.description,
        WIDTH - 2,
        max_lines=3,
        placeholder=" ...",
        initial_indent="  ",
        subsequent_indent="  ",
    )


def _table(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    """One row a problem; columns in which no problem has anything to say are left out."""
    rows: list[tuple[str, ...]] = [
        (
            "problem",
            "level",
            "optimizer",
            "updates",
            "passes",
            "unroll",
            "accumulate",
            "warm-up",
            "hypergradient",
            "reads",
        )
    ]
    rows += [_row(graph, plan, name) for name in graph.problems]
    columns = [column for column in zip(*rows, strict=True) if set(column[1:]) != {"-"}]
    widths = [max(map(len, column)) for column in columns]
    for row in zip(*columns, strict=True):
        cells = [
            cell.rjust(width) if column[0] in _NUMBERS else cell.ljust(width)
            for cell, width, column in zip(row, widths, columns, strict=True)
        ]
        yield "  ".join(cells).rstrip()


_NUMBERS = frozenset({"updates", "passes", "unroll", "accumulate", "warm-up"})


def _row(graph: ProblemGraph, plan: Plan, name: str) -> tuple[str, ...]:
    spec, rate = graph.problems[name], plan.rates[name]
    read = graph.reads[name]
    reads = [
        f"{other} (start)" if other == spec.start_from else other
        for other in graph.problems
        if other in read
    ]
    return (
        name,
        role(graph, name),
        short_name(spec.optimizer),
        str(rate.updates),
        str(rate.passes),
        f"× {spec.unroll_steps}" if graph.uppers(name) else "-",
        f"× {spec.gradient_accumulation}" if spec.gradient_accumulation > 1 else "-",
        str(spec.warmup_steps or "-"),
        spec.hypergradient.method if is_answering(plan, name) else "-",
        ", ".join(reads) or "-",
    )


def _env(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    env = graph.spec.env
    if env is None:
        return
    steps = sum(isinstance(instruction, EnvStep) for instruction in plan.period)
    when = "begins its next inner loop" if env.step_every == "loop" else "makes its next pass"
    batches = [
        f"{batch} → {name}"
        for name, spec in graph.problems.items()
        for batch in env_batches(spec.data)
    ]
    yield from _paragraph(
        "env",
        [
            f"{short_name(env.source)}, {_count(steps, 'step')} a period: when a reader that has "
            f"used its batch {when}",
            ", ".join(batches) or "no problem reads from it",
        ],
    )


def _given(graph: ProblemGraph) -> Iterator[str]:
    """Options of optimisers that are functions of problems above."""
    texts = []
    for name, spec in graph.problems.items():
        for option, component in spec.hyperparameters.given.items():
            named = [value for value in component.args.values() if isinstance(value, str)]
            reads = [value for value in named if value in graph.reads[name]]
            of = f" of {', '.join(reads)}" if reads else ""
            texts.append(f"{option} of {name}: {short_name(component)}{of}, before each update")
    yield from _paragraph("given", texts)


def _instructions(label: str, instructions: tuple[Instruction, ...]) -> Iterator[str]:
    if not instructions:
        return
    lines = list(_laid_out(fold(instructions), WIDTH - _INDENT))
    if len(lines) > _MOST_LINES:
        lines[_MOST_LINES:] = [f"... {len(instructions):,} instructions in all"]
    yield from _labelled(label, lines)


def _tasks(plan: Plan) -> Iterator[str]:
    """Which inner loops of the period may be run at once, and why others may not."""
    texts = []
    for one in plan.tasks:
        if isinstance(one, OneByOne):
            texts.append(f"loops below {one.upper} one by one: {one.reason}")
            continue
        words = [_way_of_tasks(one, way) for way in one.ways]
        if one.asked:
            join = " " if one.ways == ("processes",) else ", "
            texts.append(f"{one.count} loops of {one.lower}{join}{words[0]}")
            continue
        choice = f"{', '.join(words[:-1])} or {words[-1]}"
        texts.append(f"{one.count} loops of {one.lower} {choice}: a run keeps what is fastest")
        if "processes" in one.ways:
            texts.append("(it tries worker processes on a CPU, where more than a minute is left)")
        texts += [f"not {reason}" for reason in one.against]
    yield from _paragraph("tasks", texts)


def _way_of_tasks(window: Tasks, way: Way) -> str:
    if way == "sequential":
        return "one by one"
    if way == "vectorized":
        size = max(window.chunks())
        where = "" if window.chunk is not None else " on a CPU"
        return "all at once" if size == window.count else f"at most {size} at once{where}"
    if way == "both":
        return _shares(window) if window.asked else "both"
    if window.workers is None:
        each = "one for each processor core"
        return f"in worker processes, {each}" if window.asked else f"in worker processes ({each})"
    number = min(window.workers, window.count)
    return f"in {number} worker process{'es' if number > 1 else ''}"


def _shares(window: Tasks) -> str:
    """What worker processes do at once."""
    if window.workers is None:
        size = max(window.shares(1))
        return f"at most {size} at once in worker processes, one for each processor core"
    number = min(window.workers, window.count)
    words = "1 worker process" if number == 1 else f"each of {number} worker processes"
    return f"at most {max(window.shares(number))} at once in {words}"


def _compiled(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    """What torch.compile is given, if it is."""
    how = graph.spec.engine.execution.compile
    if how == "off":
        return
    methods = {n: s.hypergradient for n, s in graph.problems.items() if is_answering(plan, n)}
    recorded = [name for name, method in methods.items() if method.records == "graphs"]
    steps = [name for name, method in methods.items() if method.back]
    texts = [
        f"gradients of {_listed([name for name in graph.problems if name not in recorded])}",
        f"Hessian products of {_listed([n for n, m in methods.items() if m.compilable])}",
        f"gradients in recorded steps, and the way back through them, of {_listed(steps)}",
    ]
    when = "" if how == "on" else ", where the rest of a run saves more than compiling takes"
    texts = [text + when for text in texts if not text.endswith(" of ")]
    left = [name for name in recorded if name not in steps]
    texts += [f"not the loops of {name}, which {methods[name].method} records" for name in left]
    if any(isinstance(one, Tasks) and {"vectorized", "both"} & {*one.ways} for one in plan.tasks):
        texts.append("not what runs at once")
    yield from _paragraph("compiled", texts)


def _prefetched(graph: ProblemGraph) -> Iterator[str]:
    """Which sources of batches are read ahead, and why others are not."""
    how = graph.spec.engine.execution.prefetch
    sources = [*_sources(graph)]
    wanted = [place for place, reason in sources if not reason]
    if how == "off" or (how == "auto" and not wanted):
        return
    when = "" if how == "on" else ", where reading takes long: a run measures it"
    texts = [f"{_listed(wanted)}{when}"] if wanted else []
    texts += [f"not {place}: {reason}" for place, reason in sources if reason]
    yield from _paragraph("prefetched", texts or ["nothing, since no problem has data"])


def _sources(graph: ProblemGraph) -> Iterator[tuple[str, str]]:
    """Where batches come from, and why nobody can read ahead there as far as the graph tells."""
    env = graph.spec.env
    if env is not None:
        yield "env", _NOT_AHEAD.get(_target(env.source), "")
    for name, spec in graph.problems.items():
        named = spec.data.items() if isinstance(spec.data, dict) else [("", spec.data)]
        for key, source in named:
            if source is None or isinstance(source, EnvBatch):
                continue
            reason = _NOT_AHEAD.get(_target(source), "")
            if isinstance(source, Component) and source.args.get("num_workers"):
                reason = "its own workers read ahead"
            yield f"data of {name}" + (f" ({key})" if key else ""), reason


def _target(source: Recipe) -> object:
    return source.target if isinstance(source, Component) else None


_NOT_AHEAD: Mapping[object, str] = {
    "mlograph.envs.MazeEnv": "its next step follows from what is done with this one",
    "mlograph.data.full_batch": "it is one batch in memory",
    "mlograph.data.FullBatch": "it is one batch in memory",
}


def _laid_out(body: Iterable[Folded], width: int) -> Iterator[str]:
    """Folded instructions in lines of at most `width`, a block that is too long indented."""
    line = ""
    items = list(body)
    for index, item in enumerate(items):
        text = str(item) + ("," if index < len(items) - 1 else "")
        if line and len(line) + 1 + len(text) > width:
            yield line
            line = ""
        if isinstance(item, Repeat) and len(text) > width:
            yield f"{item.times} × ["
            yield from (f"  {inner}" for inner in _laid_out(item.body, width - 2))
            line = "]," if text.endswith(",") else "]"
        else:
            line = f"{line} {text}" if line else text
    if line:
        yield line


def _evaluations(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    """How often each loss is evaluated and differentiated in a period."""
    texts = []
    for name, done in evaluations(graph, plan).items():
        counts = [(done.forward, "forward"), (done.backward, "backward")]
        # Whoever has a tolerance may be done before.
        early = "tol" in type(graph.problems[name].hypergradient).model_fields
        counts += [(done.second, "second order at most" if early else "second order")]
        said = [f"{count:,} {kind}" for count, kind in counts if count]
        if done.second_each:
            said.append(f"{done.second_each:,} second order for each of its parameters")
        if done.forward_each:
            said.append(f"{done.forward_each:,} forward mode for each parameter above")
        texts.append(f"{name}: {', '.join(said)}")
    if len(texts) > _MOST_LINES:
        texts[_MOST_LINES:] = [f"... {_count(len(texts), 'problem')} in all"]
    yield from _paragraph("evaluates", texts)


def _sweep(graph: ProblemGraph, plan: Plan, sweep: Sweep) -> Iterator[str]:
    yield f"hypergradient of {sweep.upper}"
    visited = set[str]()
    for number, visit in enumerate(sweep.visits, start=1):
        answers = _answers(plan, visit)
        visited |= {visit.problem, *answers}
        yield from _visit(graph, sweep, visit, number, answers)
    still = graph.below[sweep.upper] - visited
    fixed = [name for name in graph.order if name in still]
    if fixed:
        yield f"  held fixed: {_listed(fixed)}"


def _answers(plan: Plan, visit: Visit) -> tuple[str, ...]:
    """The problems whose answers are a part of a visited problem's condition."""
    sweep = plan.sweeps[visit.problem] if visit.total else None
    return tuple(inner.problem for inner in sweep.visits) if sweep else ()


def _visit(
    graph: ProblemGraph, sweep: Sweep, visit: Visit, number: int, answers: tuple[str, ...]
) -> Iterator[str]:
    """How the adjoint of one problem comes in, is solved for, and goes on."""
    name = visit.problem
    spec = graph.problems[name]
    senders = [sweep.upper, *(v.problem for v in sweep.visits if name in v.sends_to)]
    label = f"  {number}. "
    yield f"{label}{name}: v along {_edges(graph, name, senders)}"
    margin = " " * len(label)
    method = spec.hypergradient
    through_start = method.reaches_start(spec.unroll_steps)
    yield f"{margin}through {name} by {method_text(method)}: {method.summary}"
    if answers:
        yield f"{margin}its Hessian is total: it contains how {_listed(answers)} answers to it"
    goals = " and ".join(
        f"{'back' if goal == sweep.upper else 'on'} {_way(graph, goal, name, answers)}"
        + (" (its start too)" if goal == spec.start_from and through_start else "")
        for goal in visit.sends_to
    )
    yield margin + goals


def _way(graph: ProblemGraph, goal: str, name: str, answers: tuple[str, ...]) -> str:
    """How a problem depends on another: by an edge, or because what answers to it does."""
    edges = _edges(graph, goal, [name])
    return f"along {edges}" if edges else f"to {goal}, which {_listed(answers)} answers to"


def _listed(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _edges(graph: ProblemGraph, source: str, targets: Iterable[str]) -> str:
    wanted = set(targets)
    return ", ".join(
        f"{edge.kind} {edge.source} -> {edge.target}"
        for edge in graph.written.leaving[source]
        if edge.target in wanted
    )


def _direct_only(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    alone = [name for name in graph.problems if name not in plan.sweeps]
    unread = [name for name, sweep in plan.sweeps.items() if not sweep.visits]
    reasons = ((alone, "no problem lies below"), (unread, "no problem below answers"))
    yield from _paragraph(
        "direct only", [f"{_listed(names)}: {why}" for names, why in reasons if names]
    )


def _approximate(graph: ProblemGraph, plan: Plan) -> Iterator[str]:
    found = list(approximations(graph, plan))
    if plan.sweeps:
        nothing = "nothing, where inner loops and solvers are run to their end"
        yield from _paragraph("approximate", found or [nothing])


def _paragraph(label: str, sentences: Iterable[str]) -> Iterator[str]:
    width = WIDTH - _INDENT
    lines = [textwrap.wrap(text, width, subsequent_indent="  ") for text in sentences]
    yield from _labelled(label, itertools.chain.from_iterable(lines))


def _labelled(label: str, lines: Iterable[str]) -> Iterator[str]:
    for index, line in enumerate(lines):
        yield (label if index == 0 else "").ljust(_INDENT) + line


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}" if number == 1 else f"{number:,} {thing}s"
