"""What of a run is read ahead: a lane for each source."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, final

from torch.utils.data import DataLoader

from mlograph.batches import IterableFeed, NamedFeeds, SharedEnv
from mlograph.plan import Backward, EnvStep, Executed, Step, Tasks
from mlograph.prefetch.lane import Lane, Terms
from mlograph.prefetch.process import Helper, Process
from mlograph.prefetch.seats import EnvSeat, IterableSeat
from mlograph.prefetch.watch import Seat
from mlograph.program import Program
from mlograph.readings import generators_of

How = Literal["auto", "on", "off"]


@final
class Prefetching:
    """The lanes of a run; remembers what was chosen.

    Attributes:
        lanes: by the place of the source in the graph; none where nothing shall be read ahead.
    """

    def __init__(self, how: How = "off") -> None:
        self.lanes: dict[str, Lane] = {}
        self._how = how
        self._remarks: list[str] = []

    @classmethod
    def of(
        cls, how: How, program: Program, start: Callable[[bytes], Helper] = Process
    ) -> Prefetching:
        """Give every source of a program its lane, as the graph file asks for it."""
        prefetching = cls(how)
        if how == "off":
            return prefetching
        wanted = [*_wanted(program)]
        trained = _trained(program)
        for one in wanted:
            others = [other.seat.source for other in wanted if other is not one]
            terms = Terms(
                one.place,
                how == "on",
                max(1, one.depth),
                trained,
                _entanglement(one.seat.source, others),
                prefetching._remarks.append,
                start,
            )
            one.holder.ahead = prefetching.lanes[one.place] = Lane(one.seat, terms, one.left)
        return prefetching

    def take_remarks(self) -> list[str]:
        """What the user should know and has not been told yet."""
        taken = [*self._remarks]
        self._remarks.clear()
        return taken

    def state_dict(self) -> dict[str, Any]:
        """What was chosen."""
        ways = {place: lane.choice.way for place, lane in self.lanes.items()}
        return {"how": self._how, "ways": ways, "remarks": [*self._remarks]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave, unless something else is asked for now."""
        self._remarks[:] = state["remarks"]
        if state["how"] != self._how:
            return
        for place, way in state["ways"].items():
            if place in self.lanes:
                self.lanes[place].resume(way)

    def close(self) -> None:
        """End the processes."""
        for lane in self.lanes.values():
            lane.close()


@dataclass(frozen=True)
class _Wanted:
    """A source, what has it, and how it is read.

    Attributes:
        place: in the graph.
        holder: asks for its batches.
        seat: the source.
        depth: batches that one instruction takes at most.
        left: batches that the run takes.
    """

    place: str
    holder: SharedEnv | IterableFeed
    seat: Seat
    depth: int
    left: int


def _wanted(program: Program) -> Iterator[_Wanted]:
    plan, env = program.plan, program.env
    if env is not None:
        depth = max(_env_steps(_within(one)) for one in plan.executed)
        left = _env_steps(plan.prologue) + _env_steps(plan.period) * plan.periods
        yield _Wanted("env", env, EnvSeat(env.env), depth, left)
    for name, problem in program.problems.items():
        feed = problem.feed
        depth = max(_passes(_within(one), name) for one in plan.executed)
        left = _passes(plan.prologue, name) + plan.rates[name].passes * plan.periods
        for one in feed.feeds.values() if isinstance(feed, NamedFeeds) else (feed,):
            if isinstance(one, IterableFeed):
                yield _Wanted(one.owner, one, IterableSeat(one), depth, left)


def _within(instruction: Executed) -> tuple[Executed, ...]:
    return instruction.instructions if isinstance(instruction, Tasks) else (instruction,)


def _env_steps(instructions: Iterable[Executed]) -> int:
    return sum(isinstance(one, EnvStep) for one in instructions)


def _passes(instructions: Iterable[Executed], problem: str) -> int:
    return sum(isinstance(one, Step | Backward) and one.problem == problem for one in instructions)


def _trained(program: Program) -> frozenset[int]:
    """Identities of modules and tensors that training changes."""
    modules = [problem.model.module for problem in program.problems.values()]
    parts = [part for module in modules for part in module.modules()]
    tensors = [tensor for module in modules for tensor in module.parameters()]
    buffers = [tensor for module in modules for tensor in module.buffers()]
    return frozenset(map(id, [*parts, *tensors, *buffers]))


def _entanglement(source: object, others: Iterable[object]) -> str:
    """Why a copy of a source would not be what the source is; empty where it would."""
    own = {id(one) for one in generators_of(source)}
    for other in others:
        if other is source and not isinstance(source, DataLoader):
            return "several problems read from the same object"
        if any(id(one) in own for one in generators_of(other)):
            return "another source draws from its random generator"
    return ""
