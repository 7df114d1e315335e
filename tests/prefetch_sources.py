"""Sources of batches that draw random numbers from everywhere, for runs that are told apart."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import dropout, mse_loss
from torch.utils.data import Dataset

from mlograph.prefetch.messages import More, Ready
from mlograph.prefetch.packing import packed, unpacked
from mlograph.prefetch.process import LostError
from mlograph.prefetch.reader import Reader
from mlograph.randomness import global_state, seed_everything, set_global_state, untouched
from mlograph.views import View

CPU = torch.device("cpu")


def noise(kind: str, generator: torch.Generator | None = None) -> float:
    """One number from a generator of the process, or from one's own."""
    match kind:
        case "torch":
            return float(torch.rand(()))
        case "numpy":
            return float(np.random.random())
        case "python":
            return random.random()
        case "own":
            return float(torch.rand((), generator=generator))
        case _:
            return 0.5


class Noisy:
    """An Env whose steps take time and random numbers."""

    batches = ("points",)

    def __init__(
        self, kind: str = "own", seconds: float = 0.0, fails_at: int = 0, seed: int = 0
    ) -> None:
        self.kind = kind
        self.seconds = seconds
        self.fails_at = fails_at
        self.count = 0
        self.generator = torch.Generator().manual_seed(seed)

    def step(self) -> Mapping[str, Any]:
        self.count += 1
        if self.count == self.fails_at:
            raise ValueError("no more points")
        time.sleep(self.seconds)
        x = torch.full((4, 3), noise(self.kind, self.generator), dtype=torch.float64)
        x = x * torch.arange(1.0, 13.0, dtype=torch.float64).view(4, 3)
        return {"points": (x, x.sum(dim=1, keepdim=True) + self.count)}

    def split(self, name: str, *, seed: int) -> Noisy:
        return Noisy(self.kind, seed=seed)

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count, "generator": self.generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]
        self.generator.set_state(state["generator"])


class Traced(Noisy):
    """Leaves a file, named by its number, for each step that it has made."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder = folder

    def step(self) -> Mapping[str, Any]:
        made = super().step()
        (self.folder / str(self.count)).touch()
        return made


def expectant(a: View, batch: Any, folder: str) -> Tensor:
    """The squared error, when the step after this one has been made, once there is a file `wait`.

    Raises:
        TimeoutError: nobody makes it meanwhile.
    """
    x, y = batch
    following = Path(folder, str(round(float((y - x.sum(dim=1, keepdim=True)).mean())) + 1))
    deadline = time.monotonic() + 60
    while Path(folder, "wait").exists() and not following.exists():
        if time.monotonic() > deadline:
            raise TimeoutError("the next batch is not read while this one is used")
        time.sleep(0.001)
    return fit(a, batch)


class Points(Dataset[tuple[Tensor, Tensor]]):
    """Seven points with noise that is drawn whenever one is read."""

    def __init__(self, kind: str = "none", fails_at: int = -1, seconds: float = 0.0) -> None:
        self.kind = kind
        self.fails_at = fails_at
        self.seconds = seconds
        self.own = torch.Generator().manual_seed(4)

    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        if index == self.fails_at:
            raise KeyError("lost")
        time.sleep(self.seconds)
        x = torch.tensor([index, 1.0, noise(self.kind, self.own)], dtype=torch.float64) / 7
        return x, x.sum().view(1)


class Stream:
    """An iterable with a generator of its own."""

    def __init__(self, kind: str = "none", length: int = 5, holds: Any = None) -> None:
        self.kind = kind
        self.holds = holds
        self.length = length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for index in range(self.length):
            x = torch.full((2, 3), index + noise(self.kind), dtype=torch.float64) / 5
            yield x, x.sum(dim=1, keepdim=True)


def fit(a: View, batch: Any) -> Tensor:
    """The squared error."""
    x, y = batch["pair"] if isinstance(batch, dict) else batch
    return mse_loss(a(x), y)


def dropped(a: View, batch: Any) -> Tensor:
    """The same of points of which some numbers are left out at random, by torch's generator."""
    x, y = batch
    return mse_loss(a(dropout(x, 0.3)), y)


class Teacher:
    """An Env that asks the network which is trained."""

    batches = ("points",)

    def __init__(self, network: nn.Module) -> None:
        self.network = network

    def step(self) -> Mapping[str, Any]:
        x = torch.ones(2, 3, dtype=torch.float64)
        with torch.no_grad():
            return {"points": (x, self.network(x) + 1)}

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None: ...


class Inline:
    """A helper without a process: its reader reads here, as soon as it is allowed to.

    Attributes:
        alive: those that have not been closed.
    """

    alive = 0

    def __init__(self, source: bytes) -> None:
        type(self).alive += 1
        self.number = 0
        self.has_answered = True
        self.answers = [packed(Ready())]
        with untouched(CPU):
            seed_everything(99)
            self.reader = Reader(unpacked(source))
            self.random = global_state()

    def send(self, message: object) -> None:
        with untouched(CPU):
            set_global_state(self.random)
            answer = self.reader.heed(unpacked(packed(message)))
            self.answers += [] if answer is None else [answer]
            while self.reader.wanted:
                self.answers.append(self.reader.ahead())
            self.random = global_state()

    def receive(self) -> Any:
        return unpacked(self.answers.pop(0))

    def close(self) -> None:
        type(self).alive -= 1


class Mortal(Inline):
    """A helper that ends after a few batches."""

    left = 6

    def receive(self) -> Any:
        self.left -= 1
        if not self.left:
            raise LostError("was ended by SIGKILL")
        return super().receive()


class Handle:
    """Something that the run could hold on to."""


class Handles:
    """An iterable of more than numbers."""

    def __iter__(self) -> Iterator[Any]:
        for x, y in Stream():
            yield {"pair": (x, y), "handle": Handle()}


class Positioned:
    """An iterable that tells where it stands."""

    def __init__(self) -> None:
        self.at = 0

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for self.at in range(5):
            yield torch.full((2, 3), 1.0 + self.at).double(), torch.ones(2, 1).double()

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.at = state["at"]


class Elsewhere(Noisy):
    """An Env that knows the object that it was when it was made."""

    def __init__(self) -> None:
        super().__init__()
        self.born = id(self)

    def step(self) -> Mapping[str, Any]:
        x, y = super().step()["points"]
        return {"points": (x if self.born == id(self) else 2 * x, y)}


def fit_two(a: View, batch: Any) -> Tensor:
    """The sum over two sources."""
    return fit(a, batch["x"]) + fit(a, batch["y"])


def sleepy(a: View, batch: Any) -> Tensor:
    """The squared error, after a while."""
    time.sleep(0.04)
    return fit(a, batch)


class Deaf(Inline):
    """A helper that ends after a few batches, before it is told that they were taken."""

    left = 6

    def send(self, message: object) -> None:
        self.left -= isinstance(message, More)
        if not self.left:
            raise LostError("was ended by SIGKILL")
        super().send(message)
