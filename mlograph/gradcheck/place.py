"""The point at which a hypergradient is checked, and the way to come there again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from mlograph import trees
from mlograph.batches import SharedEnv
from mlograph.checkpoints import DamagedError, Found, Store, read, understood
from mlograph.errors import UsageError
from mlograph.executor import Executor
from mlograph.gradcheck.frozen import Snapshot, Tape
from mlograph.gradcheck.report import Solve
from mlograph.gradcheck.variants import Variant
from mlograph.linear import Status
from mlograph.plan import Backward, EnvStep, Instruction, Plan, Start, Step
from mlograph.problem import Moment
from mlograph.program import Program
from mlograph.randomness import seed_everything
from mlograph.snapshot import differing, placed_on, problems_of
from mlograph.state import restore
from mlograph.trees import Vector


@dataclass(frozen=True)
class Gradient:
    """A hypergradient as some method finds it, and the linear solves that it took."""

    value: Vector
    solves: tuple[Solve, ...]


@dataclass(frozen=True)
class Place:
    """Where an upper problem is to make its first pass: its inner loops are complete.

    Every batch and every random number on the way is kept, so that the loops, the loss and the
    hypergradient are functions of the upper problem's parameters and of nothing else.

    Attributes:
        upper: the problem.
        variant: the graph, with the methods that it asks for.
        loop: from where the inner loops of the upper problem begin to their ends.
        tapes: the batches of every problem.
        before: all problems before `loop`.
        after: all problems after it.
        moment: what the upper loss is evaluated on.
        sizes: the number of trainable parameters of every problem.
    """

    upper: str
    variant: Variant
    loop: tuple[Instruction, ...]
    tapes: dict[str, Tape]
    before: Snapshot
    after: Snapshot
    moment: Moment
    sizes: dict[str, int]

    @property
    def visited(self) -> tuple[str, ...]:
        """The problems that the hypergradient flows through."""
        return tuple(visit.problem for visit in self.variant.plan.sweeps[self.upper].visits)

    @property
    def answering(self) -> tuple[str, ...]:
        """These, and the problems that hypergradients on the way flow through."""
        sweeps = self.variant.plan.sweeps
        names = (self.upper, *_followers(self.variant, self.upper))
        visits = (visit for name in names if name in sweeps for visit in sweeps[name].visits)
        found = {visit.problem for visit in visits}
        return tuple(name for name in self.variant.graph.order if name in found)

    @property
    def is_nested(self) -> bool:
        """Whether a hypergradient moves a problem on the way, so that methods differ in the way."""
        moved = {one.problem for one in self.loop if isinstance(one, Backward | Step)}
        sweeps = self.variant.plan.sweeps
        return any(name in sweeps and bool(sweeps[name].visits) for name in moved)

    def bound(self, variant: Variant | None = None) -> Program:
        """The program of a variant, where the loops end.

        Raises:
            GraphError: the variant cannot be built.
        """
        program = _taped((variant or self.variant).bound_without_data(), self.tapes)
        self.after.put(program, self.tapes)
        return program

    def run_loop(self, program: Program, executor: Executor | None = None) -> Executor:
        """Run the loops again from where they began; whoever did it has their recordings."""
        self.before.put(program, self.tapes)
        return self.go(program, executor or Executor(program))

    def go(self, program: Program, executor: Executor) -> Executor:
        """Run the loops from wherever the problems stand."""
        for instruction in self.loop:
            executor.execute(instruction)
        return executor

    def loss(self, program: Program) -> float:
        """L_u where all problems stand."""
        problem = program.problems[self.upper]
        with torch.no_grad(), self.moment.random.replayed(problem.device):
            return float(problem.evaluate(problem.views(), self.moment).loss)

    def gradient(self, program: Program, executor: Executor, *, frozen: bool = True) -> Gradient:
        """The hypergradient where all problems stand, by the methods of the program.

        Args:
            program: where they stand.
            executor: who ran the loops, if a method goes through them.
            frozen: the upper loss draws the random numbers that it drew in the run.
        """
        problem = program.problems[self.upper]
        for param in problem.model.params.values():
            param.grad = None
        self.tapes[self.upper].position = self.after.positions[self.upper]
        for name in program.problems:
            executor.meters[name].flush()
        if frozen:
            self.moment.random.restore(problem.device)
        executor.execute(Backward(self.upper))
        params = problem.model.params
        value = {n: p.grad.clone() for n, p in params.items() if p.grad is not None}
        whole = trees.scale(float(problem.spec.gradient_accumulation), value)
        return Gradient(whole, tuple(_solves(program, executor)))


@contextmanager
def reach(variant: Variant, upper: str, start: Path | None) -> Iterator[Place]:
    """Run a graph to the first pass of an upper problem; leave no trace in objects of its user.

    Args:
        variant: the graph.
        upper: the problem.
        start: a run or a checkpoint to begin at, in place of the graph's own start.

    Raises:
        GraphError: something cannot be built.
        UsageError: the user's code or data failed, or `start` does not fit.
        NumericError: numbers went wrong on the way.
    """
    seed_everything(variant.graph.spec.engine.seed)
    program = variant.bound()
    with ExitStack() as stack:
        for problem in program.problems.values():
            stack.enter_context(problem.feed.aside())
        if program.env is not None:
            stack.enter_context(_rewound(program.env))
        tapes = {name: Tape(problem) for name, problem in program.problems.items()}
        program = _taped(program, tapes)
        executor = Executor(program)
        if start is not None:
            _load(program, start)
        lead, loop = _ways(variant, upper)
        for instruction in (*(() if start is not None else variant.plan.prologue), *lead):
            executor.execute(instruction)
        before = Snapshot.of(program, tapes)
        for instruction in loop:
            executor.execute(instruction)
        after = Snapshot.of(program, tapes)
        moment = program.problems[upper].next_moment()
        kept = tuple(one for one in loop if not isinstance(one, EnvStep))
        sizes = {
            name: sum(x.numel() for x in problem.model.params.values())
            for name, problem in program.problems.items()
        }
        yield Place(upper, variant, kept, tapes, before, after, moment, sizes)


def _followers(variant: Variant, upper: str) -> frozenset[str]:
    visits = variant.plan.sweeps[upper].visits
    return variant.graph.below[upper] | {visit.problem for visit in visits}


def _ways(variant: Variant, upper: str) -> tuple[tuple[Instruction, ...], tuple[Instruction, ...]]:
    """What a period does up to the first pass of a problem, and from where its loops begin.

    Only what moves the problem's followers is done, since whoever stands beside or above it is
    taken as given; and where it starts anew itself, that.
    """
    followers = _followers(variant, upper)
    way = [*_until(variant.plan, upper)]
    way = [
        one
        for one in way
        if isinstance(one, EnvStep) or one.problem in followers or one == Start(upper)
    ]
    places = {one: index for index, one in enumerate(way) if one != Start(upper)}
    begins = min((places[Start(x)] for x in followers if Start(x) in places), default=0)
    return tuple(way[:begins]), tuple(way[begins:])


def _until(plan: Plan, upper: str) -> Iterator[Instruction]:
    for instruction in plan.period:
        if instruction in (Backward(upper), Step(upper)):
            return
        yield instruction


def _taped(program: Program, tapes: dict[str, Tape]) -> Program:
    problems = {n: replace(p, feed=tapes[n]) for n, p in program.problems.items()}
    # A check that skipped would compare what was never computed.
    return replace(program, problems=problems, on_nonfinite="stop")


@contextmanager
def _rewound(env: SharedEnv) -> Iterator[None]:
    state = env.env.state_dict()
    try:
        yield
    finally:
        env.env.load_state_dict(state)


def _solves(program: Program, executor: Executor) -> Iterator[Solve]:
    """What the meters of the last pass say of linear systems."""
    for name in program.problems:
        seen = executor.meters[name].flush()
        statuses = [s for s in Status if f"solves_{s.name.lower()}" in seen]
        if statuses:
            words = ", ".join(map(str, statuses))
            residual = seen.get("residual", float("nan"))
            yield Solve(name, words, round(seen.get("products", 0.0)), residual)


def _load(program: Program, start: Path) -> None:
    """Begin where a run ended.

    Raises:
        UsageError: there is no such state, or it is of another graph.
    """
    try:
        found = _found(start)
    except OSError as error:
        raise UsageError(f"{start}: cannot be read: {error.strerror or error}") from error
    except DamagedError as error:
        raise UsageError(f"{start}: {error}") from error
    with understood(found.state):
        saved = problems_of(found.state)
    missing = differing(program, saved)
    if missing:
        verb = "differs" if len(missing) == 1 else "differ"
        raise UsageError(f"{found.path}: was saved by another graph: {', '.join(missing)} {verb}")
    for name, problem in program.problems.items():
        restore(problem, saved[name])


def _found(start: Path) -> Found:
    if not start.is_dir():
        return Found(start, read(start, placed_on(torch.device("cpu"))))
    found = Store(start / "checkpoints").load(placed_on(torch.device("cpu")))
    if found is None:
        raise UsageError(f"{start}: no checkpoint is there")
    return found
