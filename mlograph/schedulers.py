"""One face for torch's learning-rate schedulers, which differ in what `step` takes."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Mapping
from typing import Any, Protocol, final

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mlograph.errors import UsageError


class LearningRate(Protocol):
    """What a problem tells its scheduler."""

    @property
    def follows_loss(self) -> bool:
        """Whether learning rates depend on the losses of updates."""
        ...

    def step(self, loss: Tensor | float) -> None:
        """An update was made, on this loss."""
        ...

    def restart(self) -> None:
        """The inner loop begins anew: so does the schedule."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state; empty where there is none."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        ...


@final
class Constant:
    """No scheduler: learning rates are left as they are, edits included."""

    follows_loss = False

    def step(self, loss: Tensor | float) -> None:
        """Step the schedule, if there is one."""
        return

    def restart(self) -> None:
        """Back to the learning rates and the schedule of the beginning."""
        return

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        return


@final
class Scheduled:
    """A torch scheduler; ReduceLROnPlateau is given the loss of the update."""

    def __init__(self, scheduler: LRScheduler, optimizer: Optimizer, owner: str) -> None:
        self._scheduler = scheduler
        self._optimizer = optimizer
        self._owner = owner
        self._first = copy.deepcopy(scheduler.state_dict())
        self._first_groups = [_options(group) for group in optimizer.param_groups]

    @property
    def follows_loss(self) -> bool:
        """Whether learning rates depend on the losses of updates."""
        return isinstance(self._scheduler, ReduceLROnPlateau)

    def step(self, loss: Tensor | float) -> None:
        """Step the schedule, if there is one."""
        try:
            with warnings.catch_warnings():
                # An update may have been skipped, or made by a differentiable step: torch cannot
                # see it and would warn that the optimiser has not been stepped.
                warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
                if isinstance(self._scheduler, ReduceLROnPlateau):
                    self._scheduler.step(float(loss))
                else:
                    self._scheduler.step()
        except ValueError as error:
            # OneCycleLR refuses to go on after its last step.
            raise UsageError(f"{self._owner}: {error}") from error

    def restart(self) -> None:
        """Back to the learning rates and the schedule of the beginning."""
        self._scheduler.load_state_dict(copy.deepcopy(self._first))
        for group, options in zip(self._optimizer.param_groups, self._first_groups, strict=True):
            group.update(options)

    def state_dict(self) -> dict[str, Any]:
        """The scheduler's state."""
        return self._scheduler.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state."""
        self._scheduler.load_state_dict(dict(state))


def _options(group: dict[str, Any]) -> dict[str, Any]:
    return {key: copy.copy(value) for key, value in group.items() if key != "params"}
