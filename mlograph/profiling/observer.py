"""Who is told of everything that a run does, while it does it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from enum import Enum
from typing import Protocol

from mlograph.plan import Executed


class Aside(Enum):
    """What a run does besides instructions; whatever happens inside counts as this."""

    RUN = "the rest"
    VALIDATION = "validation"
    CHECKPOINT = "checkpoints"
    LOG = "logs"


Activity = Executed | Aside


class Observer(Protocol):
    """Is there whenever something is done; activities lie within others."""

    def watching(self, activity: Activity) -> AbstractContextManager[None]:
        """The activity is carried out inside."""
        ...


def observed(
    execute: Callable[[Executed], None], observer: Observer | None
) -> Callable[[Executed], None]:
    """`execute`, with an observer at each instruction; itself where there is none."""
    if observer is None:
        return execute

    def run(instruction: Executed) -> None:
        with observer.watching(instruction):
            execute(instruction)

    return run


def aside(observer: Observer | None, activity: Aside) -> AbstractContextManager[None]:
    """The activity is carried out inside, and observed if there is somebody to do so."""
    return nullcontext() if observer is None else observer.watching(activity)
