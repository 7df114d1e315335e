"""Where a problem's batches come from: the Env, an iterable, or several of these by name."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard, final

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils.data import Dataset, IterableDataset

from mlograph.blame import blame
from mlograph.envs.protocol import Env, RepeatingEnv
from mlograph.errors import MlographError, UsageError
from mlograph.readings import Reading, Stateful, undisturbed


class Feed(Protocol):
    """Gives a problem one batch for every backward pass."""

    def next(self) -> Any:
        """The next batch; tensors may lie on any device."""
        ...

    def aside(self) -> AbstractContextManager[None]:
        """Inside, batches come from a reading of its own, and this one does not move."""
        ...


class Ahead(Protocol):
    """Has the batches of a source ready before they are wanted."""

    def draw(self) -> Any:
        """The next batch, as the source would have given it."""
        ...

    def standing(self) -> dict[str, Any] | None:
        """The state of the source where the run has read to; None where it stands there itself."""
        ...

    def settle(self) -> None:
        """Let the source itself stand where the run has read to."""
        ...


@final
class SharedEnv:
    """The Env of a run with the batches of its last step.

    Attributes:
        ahead: steps ahead of the run, if somebody does.
    """

    def __init__(self, env: Env) -> None:
        self._env = env
        self._current: Mapping[str, Any] = {}
        self.ahead: Ahead | None = None

    @property
    def env(self) -> Env:
        """The Env, after the last step."""
        if self.ahead is not None:
            self.ahead.settle()
        return self._env

    def step(self) -> None:
        """Move the Env on."""
        self._current = self._env.step() if self.ahead is None else self.ahead.draw()

    @contextmanager
    def replaced(self, env: Env) -> Iterator[None]:
        """Another Env stands in for this one inside; this one does not move."""
        kept = (self._env, self._current, self.ahead)
        self._env, self._current, self.ahead = env, {}, None
        try:
            yield
        finally:
            self._env, self._current, self.ahead = kept

    def batch(self, name: str) -> Any:
        """The batch `name` of the last step."""
        assert self._current, "the plan steps the Env before anyone reads from it"
        return self._current[name]

    @property
    def again(self) -> Mapping[str, Any]:
        """By name, the present batches that the Env itself gives again once it is restored."""
        return self._current if isinstance(self._env, RepeatingEnv) else {}

    def state_dict(self) -> dict[str, Any]:
        """The state of the Env, and the batches of its last step unless it gives them `again`."""
        current = {} if self.again else dict(self._current)
        standing = None if self.ahead is None else self.ahead.standing()
        env = self._env.state_dict() if standing is None else standing
        return {"env": env, "current": current, "stepped": bool(self._current)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._env.load_state_dict(state["env"])
        self._current = state["current"]
        if isinstance(self._env, RepeatingEnv) and state["stepped"]:
            self._current = self._env.repeat()


@dataclass(frozen=True)
class EnvFeed:
    """The batch `name` of the Env; the same one until the Env steps."""

    env: SharedEnv
    name: str

    def next(self) -> Any:
        """The next batch."""
        return self.env.batch(self.name)

    def aside(self) -> AbstractContextManager[None]:
        """Batches drawn inside leave no trace."""
        return nullcontext()  # Whoever tries something out replaces the Env.


def checked_batches(data: object) -> Iterable[Any]:
    """`data`, if it can be walked through batch by batch.

    Raises:
        UsageError: it is no iterable, a text, or a data set that is not batched.
    """
    if isinstance(data, Dataset) and not isinstance(data, IterableDataset):
        raise UsageError(
            f"a {type(data).__name__} is a Dataset, which gives single samples; "
            "wrap it in torch.utils.data.DataLoader or mlograph.data.full_batch"
        )
    if isinstance(data, str):
        # Below a component a text is a text, and a text is an iterable of its letters.
        raise UsageError(
            f"expected a DataLoader or an iterable, got the text '{data}' "
            f"(for what it names, write {{_target_: {data}}})"
        )
    if not isinstance(data, Iterable):
        raise UsageError(f"expected a DataLoader or an iterable, got a {type(data).__name__}")
    return data


@final
class IterableFeed:
    """Walks through an iterable again and again.

    Attributes:
        source: the iterable.
        owner: its place in the graph.
        reading: where it is read.
        ahead: reads ahead of the run, if somebody does.

    Raises:
        UsageError: the iterable is empty, fails, or cannot be repeated.
    """

    def __init__(self, source: Iterable[Any], owner: str) -> None:
        self.source = source
        self.owner = owner
        self.reading = Reading(source, owner)
        self.ahead: Ahead | None = None

    def next(self) -> Any:
        """The next batch."""
        return self.here() if self.ahead is None else self.ahead.draw()

    def here(self) -> Any:
        """The next batch, read when it is wanted."""
        for _ in range(2):
            with _blamed(self.owner):
                try:
                    return self.reading.draw()
                except StopIteration:
                    continue
        raise UsageError(f"{self.owner}: the data gave no batch, or cannot be read a second time")

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Batches drawn inside leave no trace."""
        if isinstance(self.source, Iterator):
            raise UsageError(
                f"{self.owner}: validation would use up an iterator that can be read only once; "
                "give an iterable, such as a DataLoader"
            )
        kept = (self.reading, self.ahead)
        self.reading, self.ahead = Reading(self.source, self.owner), None
        try:
            with undisturbed(self.source):
                yield
        finally:
            self.reading, self.ahead = kept

    def state_dict(self) -> dict[str, Any]:
        """Where the reading stands."""
        standing = None if self.ahead is None else self.ahead.standing()
        return self.reading.state_dict() if standing is None else standing

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave, the data being as they were at the beginning."""
        with _blamed(self.owner):
            self.reading.load_state_dict(state)


@dataclass(frozen=True)
class NamedFeeds:
    """Several feeds at once: a batch is a mapping."""

    feeds: Mapping[str, Feed]

    def next(self) -> Any:
        """The next batch."""
        return {name: feed.next() for name, feed in self.feeds.items()}

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Batches drawn inside leave no trace."""
        with ExitStack() as stack:
            for feed in self.feeds.values():
                stack.enter_context(feed.aside())
            yield

    def state_dict(self) -> dict[str, Any]:
        """Where each feed stands that has a position of its own."""
        return {
            n: feed.state_dict() for n, feed in self.feeds.items() if isinstance(feed, Stateful)
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        for name, feed in self.feeds.items():
            if isinstance(feed, Stateful):
                feed.load_state_dict(state[name])


@dataclass(frozen=True)
class NoFeed:
    """For a problem without data."""

    def next(self) -> Any:
        """The next batch."""
        return None

    def aside(self) -> AbstractContextManager[None]:
        """Batches drawn inside leave no trace."""
        return nullcontext()


@contextmanager
def _blamed(owner: str) -> Iterator[None]:
    """What goes wrong in the user's data is told with its place."""
    try:
        yield
    except MlographError:
        raise
    except Exception as error:
        raise UsageError(f"{owner}: {blame(error)}") from error


@dataclass(frozen=True)
class Placed:
    """A batch where it is computed with; the same one is not moved again.

    Attributes:
        given: what was moved.
        tensors: those in it, with their versions, which whoever writes into one changes; None where
            others could take their place.
        batch: what that gave.
    """

    given: Any
    tensors: tuple[tuple[Tensor, int], ...] | None
    batch: Any

    @classmethod
    def of(
        cls, given: Any, device: torch.device, dtype: torch.dtype | None, last: Placed | None = None
    ) -> Placed:
        """`given`, moved; `last` if it was moved then, and is what it was.

        An inner loop sees one batch of its Env again and again.
        """
        if (
            last is not None
            and last.given is given
            and last.tensors is not None
            and all(x._version == version for x, version in last.tensors)
        ):
            return last
        row = given if isinstance(given, tuple) else (given,)
        # A list can be filled anew; a tuple of tensors cannot.
        fixed = all(isinstance(x, Tensor) for x in row)
        tensors = tuple((x, x._version) for x in row) if fixed else None
        return cls(given, tensors, moved(given, device, dtype))


def moved(batch: Any, device: torch.device, dtype: torch.dtype | None) -> Any:
    """`batch` with its tensors on `device`, and floating ones in `dtype` where one is given."""

    def move(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        wanted = dtype if leaf.is_floating_point() else None
        return leaf.to(device, wanted, non_blocking=True)

    if is_row(batch):
        return type(batch)(move(x) for x in batch)
    return pytree.tree_map(move, batch)


def is_row(batch: Any) -> TypeGuard[tuple[Tensor, ...] | list[Tensor]]:
    """Whether a batch is a plain tuple or list of tensors, as nearly all are.

    To walk through it as through any tree takes longer than what it is walked through for.
    """
    return type(batch) in {tuple, list} and all(isinstance(x, Tensor) for x in batch)
