"""What an Env is: one source of data that several problems share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Env(Protocol):
    """A source of named batches that stay the same for all problems until the next `step`.

    A MAML task must be adapted and tested on the same task: the inner problem reads
    `env.support`, the outer one `env.query`, and both belong to the task drawn last.
    """

    @property
    def batches(self) -> tuple[str, ...]:
        """Names of the batches that every step gives, such as `("support", "query")`."""
        ...

    def step(self) -> Mapping[str, Any]:
        """Move on (draw the next task) and return its batches by name."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to continue bit-identically: RNG states and positions."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        ...


@runtime_checkable
class RepeatingEnv(Env, Protocol):
    """An Env whose batches are objects that no checkpoint can hold, or that it goes on from."""

    def repeat(self) -> Mapping[str, Any]:
        """The batches of the last step, after `load_state_dict`, as they were when it was saved."""
        ...


@runtime_checkable
class SplitEnv(Env, Protocol):
    """An Env that also holds data kept apart for validation or test."""

    def split(self, name: str, *, seed: int) -> Env:
        """An independent Env over the split `name` (such as `test`), with its own RNG."""
        ...
