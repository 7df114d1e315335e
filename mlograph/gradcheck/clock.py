"""The time that a check may take, and word of what it is doing."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from math import isfinite
from typing import Any, final

import torch
from torch.overrides import TorchFunctionMode

from mlograph.errors import MlographError

_DERIVATIVES = (torch.autograd.grad, torch.Tensor.backward)

Tell = Callable[[str], None]


class OutOfTimeError(MlographError):
    """Something took longer than it was given."""


def silent(text: str) -> None:
    """Tells nobody."""


@final
class Clock:
    """Counts down the seconds of a check."""

    def __init__(
        self, budget: float, tell: Tell = silent, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._now, self._end = now, now() + budget
        self.tell = tell

    @property
    def left(self) -> float:
        """Seconds until the budget is spent; never less than none."""
        return max(0.0, self._end - self._now())

    def share(self, parts: int) -> Clock:
        """A clock for one of so many parts of what is left."""
        return Clock(self.left / parts, self.tell, self._now)

    @contextmanager
    def at_most(self, seconds: float) -> Iterator[None]:
        """What runs inside is stopped at the first derivative that it asks for so much later.

        Nowhere else, so that whatever puts something back at its end is never cut short.

        Raises:
            OutOfTimeError: it took longer.
        """
        if not isfinite(seconds):
            yield
            return
        with _Deadline(self._now, seconds):
            yield


class _Deadline(TorchFunctionMode):
    """Looks at the clock before derivatives are taken; every call of torch stays as it is."""

    def __init__(self, now: Callable[[], float], seconds: float) -> None:
        super().__init__()
        self._now, self._seconds, self._end = now, seconds, now() + seconds

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DERIVATIVES and self._now() > self._end:
            raise OutOfTimeError(f"not done within {self._seconds:.2g} s; --budget gives more time")
        return func(*args, **(kwargs or {}))
