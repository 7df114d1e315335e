"""Processes that wait for their turn, and what came of it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import median

from benchmark.worker import Checked, Order, Sample, Unable, check, serve


@dataclass(frozen=True)
class Measured:
    """A library on a problem.

    Attributes:
        checked: its hypergradient.
        samples: one for every round.
    """

    checked: Checked
    samples: Sequence[Sample]

    @property
    def seconds(self) -> float:
        """Of an update: the median."""
        return median(sample.seconds for sample in self.samples)

    @property
    def peak(self) -> int:
        """The most bytes that the process grew by."""
        return max(sample.peak for sample in self.samples)

    def ratio(self, other: Measured) -> float:
        """How many times the other's seconds this one takes: the median over the rounds."""
        pairs = zip(self.samples, other.samples, strict=True)
        return median(mine.seconds / theirs.seconds for mine, theirs in pairs)


Result = Measured | Unable


def measured(orders: Mapping[str, Order], rounds: int) -> dict[str, Result]:
    """Every library on one problem, by name.

    Args:
        orders: by library.
        rounds: turns of each.
    """
    found: dict[str, Result] = {}
    checks: dict[str, Checked] = {}
    with ExitStack() as stack:
        waiting: dict[str, Connection] = {}
        for name, order in orders.items():
            answer = _checked(order)
            if isinstance(answer, Unable):
                found[name] = answer
                continue
            pipe = stack.enter_context(_process(serve, order))
            try:
                pipe.recv()
            except EOFError:
                found[name] = Unable("fails", "the process ended while it was set up in float32")
                continue
            checks[name], waiting[name] = answer, pipe
        samples = _rounds(waiting, rounds)
    for name, pipe_samples in samples.items():
        whole = len(pipe_samples) == rounds
        ended = Unable("fails", f"the process ended in round {len(pipe_samples) + 1}")
        found[name] = Measured(checks[name], pipe_samples) if whole else ended
    return {name: found[name] for name in orders}


def _rounds(waiting: Mapping[str, Connection], rounds: int) -> dict[str, list[Sample]]:
    """A turn of each, `rounds` times; who ends early has fewer."""
    samples: dict[str, list[Sample]] = {name: [] for name in waiting}
    going = dict(waiting)
    for _ in range(rounds):
        for name, pipe in [*going.items()]:
            try:
                pipe.send("update")
                samples[name].append(pipe.recv())
            except (EOFError, BrokenPipeError):
                del going[name]
    return samples


def _checked(order: Order) -> Checked | Unable:
    with _process(check, order) as pipe:
        try:
            answer: Checked | Unable = pipe.recv()
        except EOFError:
            return Unable("fails", "the process ended while its hypergradient was checked")
    return answer


@contextmanager
def _process(target: Callable[[Order, Connection], None], order: Order) -> Iterator[Connection]:
    """A process at the other end of a pipe; it ends when the pipe is closed."""
    # Nothing of one library, or of this process, shall be there in another.
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=target, args=(order, theirs))
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        process.join()
