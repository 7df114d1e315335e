"""The batches of several tasks: drawn in the order of a sequential run, and stacked."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from mlograph.plan import Backward, EnvStep, Step, Tasks
from mlograph.problem import Moment, Problem
from mlograph.tasks.refusal import NotAtOnceError

_PLAIN = (bool, int, float, str, bytes, type(None))


@dataclass(frozen=True)
class Drawn:
    """What the passes of a window are made on.

    Attributes:
        lower: for each task, the moments of its loop's passes, in order.
        upper: for each task, that of the pass above it.
    """

    lower: tuple[tuple[Moment, ...], ...]
    upper: tuple[Moment, ...]

    def chunks(self, sizes: Sequence[int]) -> Iterator[Drawn]:
        """The same, a few tasks at a time."""
        first = 0
        for size in sizes:
            yield Drawn(self.lower[first : first + size], self.upper[first : first + size])
            first += size

    @contextmanager
    def fed(self, lower: Problem, upper: Problem) -> Iterator[None]:
        """Inside, the two problems read these batches, in the order of the window."""
        kept = (lower.feed, upper.feed)
        lower.feed = _Queue(deque(one.batch for loop in self.lower for one in loop))
        upper.feed = _Queue(deque(one.batch for one in self.upper))
        try:
            yield
        finally:
            lower.feed, upper.feed = kept


@final
@dataclass(frozen=True)
class _Queue:
    """Gives ready batches; implements `batches.Feed`."""

    batches: deque[Any]

    def next(self) -> Any:
        """The next batch."""
        return self.batches.popleft()

    def aside(self) -> AbstractContextManager[None]:
        """Nobody reads ahead in a window."""
        return nullcontext()


def draw(window: Tasks, lower: Problem, upper: Problem, step_env: Callable[[], None]) -> Drawn:
    """Draw all batches of a window."""
    loops: list[tuple[Moment, ...]] = []
    ends: list[Moment] = []
    for _ in range(window.count):
        loop: list[Moment] = []
        for instruction in window.body:
            if isinstance(instruction, EnvStep):
                step_env()
            elif instruction == Backward(upper.name):
                ends.append(upper.next_moment())
            elif isinstance(instruction, Step | Backward):
                loop.append(lower.next_moment())
        loops.append(tuple(loop))
    return Drawn(tuple(loops), tuple(ends))


@dataclass(frozen=True)
class Stack:
    """One batch of each of several tasks.

    Attributes:
        leaves: the tensors, each with an axis of tasks in front; by their place in a batch.
        rest: everything else, which is the same for all tasks.
        form: how a batch is made of these.
    """

    leaves: Mapping[int, Tensor]
    rest: Mapping[int, Any]
    form: pytree.TreeSpec

    def batch(self, leaves: Mapping[int, Tensor]) -> Any:
        """One task's batch."""
        parts = {**leaves, **self.rest}
        return pytree.tree_unflatten([parts[place] for place in range(len(parts))], self.form)


@final
@dataclass(frozen=True)
class Stacker:
    """Stacks batches; what a loop reads again and again is stacked once."""

    _known: dict[tuple[int, ...], Tensor] = field(default_factory=dict)

    def stack(self, batches: Sequence[Any]) -> Stack:
        """The batches of several tasks in one.

        Raises:
            NotAtOnceError: they differ in form or shape, or hold what cannot be stacked.
        """
        flat = [pytree.tree_flatten(batch) for batch in batches]
        leaves: dict[int, Tensor] = {}
        rest: dict[int, Any] = {}
        form = flat[0][1]
        if any(other != form for _, other in flat):
            raise NotAtOnceError("the batches of the tasks differ in form")
        for place, column in enumerate(zip(*(parts for parts, _ in flat), strict=True)):
            if isinstance(column[0], Tensor):
                leaves[place] = self._stacked(column)
            elif not isinstance(column[0], _PLAIN):
                raise NotAtOnceError(f"a batch holds a {type(column[0]).__name__}")
            elif any(one != column[0] for one in column):
                raise NotAtOnceError("the batches of the tasks differ in more than tensors")
            else:
                rest[place] = column[0]
        return Stack(leaves, rest, form)

    def _stacked(self, column: Sequence[Tensor]) -> Tensor:
        if any(x.shape != column[0].shape or x.dtype != column[0].dtype for x in column):
            raise NotAtOnceError("the batches of the tasks differ in shape")
        key = tuple(map(id, column))
        if key not in self._known:
            self._known[key] = torch.stack([*column])
        return self._known[key]
