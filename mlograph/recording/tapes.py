"""What is kept of a loop as it runs: graphs of its steps, what they began with, or tangents."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol, final

import torch

from mlograph import trees
from mlograph.problem import Problem
from mlograph.recording.link import Link
from mlograph.recording.steps import Made, Point, Read, Record, made_again
from mlograph.trees import Vector


class Tape(Protocol):
    """A memory of steps that can tell how the last point depends on what they read."""

    @property
    def graphs(self) -> bool:
        """Whether steps are to be made with a graph."""
        ...

    def add(self, made: Made) -> None:
        """The next step has been made."""
        ...

    def pull(self, adjoint: Vector, targets: tuple[str, ...]) -> tuple[Vector, dict[str, Vector]]:
        """(dθ_T/dθ_0)ᵀ · adjoint, and (dθ_T/dtarget)ᵀ · adjoint of every target.

        The first is empty where it is not known, or the loop starts from none of the targets.
        """
        ...

    def state_dict(self) -> dict[str, Any]:
        """What is kept, without graphs."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave; graphs are made again, to the last bit."""
        ...


@final
class Graphs:
    """The graph of every step, or of the `last` ones.

    Memory: a graph a step. A pull is one vector-Jacobian product a step.

    Args:
        problem: whose loop it is.
        uppers: the problems above.
        last: only so many last steps are pulled; None: all.
    """

    graphs = True

    def __init__(self, problem: Problem, uppers: Mapping[str, Read], last: int | None) -> None:
        self._problem = problem
        self._uppers = uppers
        # With what each step began with, of which its graph can be made again.
        self._links: deque[tuple[Link, Kept]] = deque(maxlen=last)
        self._made = 0

    def add(self, made: Made) -> None:
        """The next step has been made."""
        assert made.link is not None, "steps are made with a graph"
        self._links.append((made.link, Kept(made.begin, made.record)))
        self._made += 1

    def pull(self, adjoint: Vector, targets: tuple[str, ...]) -> tuple[Vector, dict[str, Vector]]:
        """Reverse mode, step by step."""
        start = self._problem.spec.start_from in targets and self._made == len(self._links)
        back = _Back(adjoint, targets, len(self._links) + start)
        for link, _ in reversed(self._links):
            back.through(link, keep=True)
        return back.adjoint, back.sent

    def state_dict(self) -> dict[str, Any]:
        """What each step began with, and how many there were."""
        return {"kept": [kept for _, kept in self._links], "made": self._made}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._links.clear()
        for kept in state["kept"]:
            assert kept.begin is not None, "every point is kept"
            made = made_again(self._problem, kept.record, kept.begin, self._uppers, graph=True)
            assert made.link is not None, "it was asked for"
            self._links.append((made.link, kept))
        self._made = state["made"]


@dataclass(frozen=True)
class Kept:
    """A step, and the point where it began if that is kept."""

    begin: Point | None
    record: Record


@final
class Replays:
    """What every step began with; its graph is made again when it is pulled, one at a time.

    Memory: a graph, and a point (θ and s) for every `every`-th step. A pull makes each step once
    more with its graph, and, where `every` is not 1, once without.

    Args:
        problem: whose loop it is.
        uppers: the problems above.
        every: how many steps a kept point serves; None keeps only the start.
        last: only so many last steps are pulled; None: all.
    """

    graphs = False

    def __init__(
        self,
        problem: Problem,
        uppers: Mapping[str, Read],
        *,
        every: int | None = None,
        last: int | None = None,
    ) -> None:
        self._problem = problem
        self._uppers = uppers
        self._every = every
        self._last = last
        self._kept: deque[Kept] = deque()
        self._made = 0

    def add(self, made: Made) -> None:
        """The next step has been made."""
        keeps = self._made % self._every == 0 if self._every else self._made == 0
        self._kept.append(Kept(made.begin if keeps else None, made.record))
        self._made += 1
        while self._can_drop():
            self._kept.popleft()
            while self._kept[0].begin is None:
                self._kept.popleft()

    def pull(self, adjoint: Vector, targets: tuple[str, ...]) -> tuple[Vector, dict[str, Vector]]:
        """Reverse mode, each step made again."""
        left = self._made if self._last is None else self._last
        start = self._problem.spec.start_from in targets and self._made <= left
        back = _Back(adjoint, targets, min(left, self._made) + start)
        for begin, record in self._backwards(left):
            if not back.adjoint:
                break
            made = made_again(self._problem, record, begin, self._uppers, graph=True)
            assert made.link is not None, "it was asked for"
            back.through(made.link, keep=False)
        return back.adjoint, back.sent

    def state_dict(self) -> dict[str, Any]:
        """What each step began with, and how many there were."""
        return {"kept": list(self._kept), "made": self._made}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._kept, self._made = deque(state["kept"]), state["made"]

    def rerun(self, start: Point, uppers: Mapping[str, Read], moved: Mapping[str, Vector]) -> Point:
        """Where the loop leads to from `start`, without a graph.

        Args:
            start: θ_0 and s_0.
            uppers: the problems above.
            moved: is added to the parameters of a problem below wherever it was read.
        """
        assert len(self._kept) == self._made, "no step was dropped"
        point = start
        buffers: Vector | None = None
        for kept in self._kept:
            if buffers is None and kept.record.passes:
                first = kept.record.passes[0].buffers
                buffers = {name: buffer.clone() for name, buffer in first.items()}
            record = _moved(kept.record, moved) if moved else kept.record
            made = made_again(self._problem, record, point, uppers, graph=False, buffers=buffers)
            point = made.end
        return point

    def _can_drop(self) -> bool:
        """Whether the steps up to the second point that is kept are needed no more."""
        if self._last is None or len(self._kept) <= self._last:
            return False
        later = (index for index, kept in enumerate(self._kept) if index and kept.begin is not None)
        second = next(later, None)
        return second is not None and len(self._kept) - second >= self._last

    def _backwards(self, count: int) -> Iterator[tuple[Point, Record]]:
        """The last `count` steps from the last to the first, with the points they began at."""
        pending: list[Record] = []
        for kept in reversed(self._kept):
            if count == 0:
                return
            pending.append(kept.record)
            if kept.begin is None:
                continue
            begins, records = [kept.begin], pending[::-1]
            for record in records[:-1]:
                made = made_again(self._problem, record, begins[-1], self._uppers, graph=False)
                begins.append(made.end)
            for begin, record in zip(reversed(begins[-count:]), pending, strict=False):
                count -= 1
                yield begin, record
            pending = []


@final
class Tangents:
    """d(θ_t, s_t)/du for all parameters u of the targets, carried along as the loop runs.

    Memory: m vectors of the size of (θ, s), m being the number of these parameters; no graph of an
    earlier step. Each step costs m Jacobian-vector products; a pull costs nothing.

    Args:
        start: where the loop begins.
        origin: the problem whose parameters it starts at, if there is one.
        targets: u: the parameters of every problem that may be asked for.
    """

    graphs = True

    def __init__(self, start: Point, origin: str | None, targets: Mapping[str, Vector]) -> None:
        self._directions = _identity(targets)
        begun = self._directions.get(origin, {}) if origin is not None else {}
        self._tangents = {name: begun[name] for name in start.params if name in begun}
        # Parameters that θ never depends on have no derivative, rather than one of zero.
        self._reached = {(origin or "", name) for name in self._tangents}

    def add(self, made: Made) -> None:
        """The next step has been made."""
        assert made.link is not None, "steps are made with a graph"
        self._tangents, reached = made.link.jvp(self._tangents, self._directions)
        self._reached |= reached

    def pull(self, adjoint: Vector, targets: tuple[str, ...]) -> tuple[Vector, dict[str, Vector]]:
        """Σ over θ of tangent · adjoint, for each parameter of each target."""
        parts = [
            self._tangents[name].flatten(1) @ x.flatten()
            for name, x in adjoint.items()
            if name in self._tangents
        ]
        sent: dict[str, Vector] = {target: {} for target in targets}
        if not parts:
            return {}, sent
        slopes = torch.stack(parts).sum(0)
        for target in targets:
            sent[target] = {
                name: torch.tensordot(slopes, x, dims=1)
                for name, x in self._directions[target].items()
                if (target, name) in self._reached
            }
        return {}, sent

    def state_dict(self) -> dict[str, Any]:
        """The derivatives, and what θ depends on."""
        return {"tangents": self._tangents, "reached": sorted(self._reached)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._tangents, self._reached = dict(state["tangents"]), set(state["reached"])


class _Back:
    """An adjoint on its way to the start of a loop, and what it sends to the targets.

    Args:
        adjoint: at the end of the loop.
        targets: problems that the steps read.
        points: how many points of the loop want the adjoint, the end among them.
    """

    def __init__(self, adjoint: Vector, targets: tuple[str, ...], points: int) -> None:
        self._points = points
        self.adjoint = dict(adjoint)
        self.sent: dict[str, Vector] = {target: {} for target in targets}
        self._targets = targets

    def through(self, link: Link, *, keep: bool) -> None:
        """One step back."""
        self._points -= 1
        further = self._points > 0
        self.adjoint, found = link.vjp(self.adjoint, self._targets, keep=keep, further=further)
        for target, share in found.items():
            self.sent[target] = trees.merge(self.sent[target], share)


def _moved(record: Record, moved: Mapping[str, Vector]) -> Record:
    """A record with the problems below elsewhere."""

    def read(name: str, one: Read) -> Read:
        way = moved.get(name, {})
        return replace(
            one, params={n: x + way[n] if n in way else x for n, x in one.params.items()}
        )

    passes = (
        replace(one, lower={name: read(name, r) for name, r in one.lower.items()})
        for one in record.passes
    )
    return replace(record, passes=tuple(passes))


def _identity(targets: Mapping[str, Vector]) -> dict[str, Vector]:
    """One direction for each number of each target: by target and name, of shape (m, …)."""
    sizes = [x.numel() for vector in targets.values() for x in vector.values()]
    total, first = sum(sizes), 0
    found: dict[str, Vector] = {}
    for target, vector in targets.items():
        found[target] = {}
        for name, x in vector.items():
            block = torch.zeros(total, x.numel(), dtype=x.dtype, device=x.device)
            block[first : first + x.numel()] = torch.eye(x.numel(), dtype=x.dtype, device=x.device)
            found[target][name] = block.view(total, *x.shape)
            first += x.numel()
    return found
