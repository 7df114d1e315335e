"""What a library must do to be compared, and what its adapters share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from cases import Case, Point, flat
from torch import Tensor

from comparison.trials import Trial

Parameters = tuple[Tensor, ...]


class UnsupportedError(Exception):
    """A library has nothing that would do what is asked."""


class Library(Protocol):
    """A library under comparison."""

    @property
    def version(self) -> str:
        """Which release or commit of it runs."""
        ...

    def hypergradient(self, trial: Trial) -> Tensor:
        """The hypergradient of the upper problem in one vector.

        Raises:
            UnsupportedError: the library does not have the method, or cannot express the case.
        """
        ...

    def remark(self, trial: Trial) -> str:
        """Why the answer is not what the method promises, where that is known; else empty.

        It is printed only where that happens.
        """
        ...


@dataclass(frozen=True)
class TwoLevels:
    """The names of a bilevel case."""

    upper: str
    lower: str


def two_levels(case: Case) -> TwoLevels:
    """The only two problems of a case.

    Raises:
        UnsupportedError: there are more.
    """
    lowers = [name for name in case.points if name != case.upper]
    if len(lowers) > 1:
        raise UnsupportedError("one lower problem only")
    return TwoLevels(case.upper, lowers[0])


def parameters(point: Tensor) -> Parameters:
    """A point as leaf tensors, divided as in the module of the cases."""
    return tuple(Point(point).parameters())


def gradient(loss: Tensor, upper: Parameters) -> Tensor:
    """∂loss/∂upper in one vector, through whatever lies between."""
    return flat(torch.autograd.grad(loss, upper))
