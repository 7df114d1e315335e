"""What a library must do to be timed, and what its adapters share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.optim import SGD, Adam, Optimizer

from benchmark.problems import Problem
from benchmark.settings import Batch, Episode, Setting


class UnsupportedError(Exception):
    """A library has nothing that would do what is asked."""


class Session(Protocol):
    """A problem, set up by a library."""

    @property
    def upper(self) -> Sequence[Tensor]:
        """The parameters of the upper problem, in the module's order."""
        ...

    def update(self) -> None:
        """Make the next update of the upper problem, and all that it takes."""
        ...


class Library(Protocol):
    """A library, or a way to use it."""

    @property
    def version(self) -> str:
        """Which release or commit of it runs."""
        ...

    def session(self, job: Job) -> Session:
        """Set a problem up.

        Raises:
            UnsupportedError: the library does not have the method, or cannot express the setting.
        """
        ...

    def remark(self, job: Job) -> str:
        """Why the hypergradient is not the method's, where that is known; else empty.

        It is printed only where that happens.
        """
        ...


@dataclass(frozen=True)
class Job:
    """What a library is asked to set up.

    Attributes:
        problem: what to do.
        device: where.
        plainly: the upper problem moves by its hypergradient itself, so that the hypergradient is
            where it was before less where it is then; otherwise by Adam.
        shipped: networks are those that mlograph ships, not the same made of torch's own layers.
    """

    problem: Problem
    device: str
    plainly: bool = False
    shipped: bool = True

    @property
    def setting(self) -> Setting:
        """Modules, losses and data."""
        return self.problem.setting

    def upper(self) -> nn.Module:
        """The module of the upper problem, on the device."""
        return self.setting.upper(shipped=self.shipped).to(self.device)

    def lower(self) -> nn.Module:
        """The module of the lower problem, on the device."""
        return self.setting.lower(shipped=self.shipped).to(self.device)

    def episodes(self) -> tuple[Episode, ...]:
        """The data, on the device."""
        return tuple(
            Episode(self._moved(one.lower), self._moved(one.upper))
            for one in self.setting.episodes()
        )

    def optimizer(self, params: Iterable[Tensor]) -> Optimizer:
        """The optimiser of the upper problem."""
        kind, options = self.recipe()
        return kind(params, **options)

    def recipe(self) -> tuple[type[Optimizer], dict[str, float]]:
        """Its class and its options."""
        return (SGD, {"lr": 1.0}) if self.plainly else (Adam, {"lr": 1e-3})

    def _moved(self, batch: Batch) -> Batch:
        return batch[0].to(self.device), batch[1].to(self.device)


@final
@dataclass(frozen=True)
class At:
    """A module with other parameters, in the module's order; implements `settings.Net`."""

    module: nn.Module
    tensors: Sequence[Tensor]

    def __call__(self, inputs: Tensor) -> Tensor:
        names = [name for name, _ in self.module.named_parameters()]
        found: Tensor = functional_call(
            self.module, dict(zip(names, self.tensors, strict=True)), (inputs,)
        )
        return found

    def parameters(self) -> Sequence[Tensor]:
        return self.tensors


def leaves(params: Iterable[Tensor]) -> list[Tensor]:
    """Copies that can be differentiated by."""
    return [x.detach().clone().requires_grad_() for x in params]


def add_gradients(params: Iterable[Tensor], found: Iterable[Tensor], share: float) -> None:
    """Add `share` of what was found to the parameters' gradients."""
    for param, x in zip(params, found, strict=True):
        param.grad = x * share if param.grad is None else param.grad.add_(x, alpha=share)


def copy(source: Iterable[Tensor], target: Iterable[Tensor]) -> None:
    """Overwrite the target's numbers."""
    with torch.no_grad():
        torch._foreach_copy_([*target], [*source])
