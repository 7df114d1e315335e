"""What a library must do to be compared, and what its adapters share."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
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


def version(file: str | None, distribution: str) -> str:
    """The release of a distribution, or the commit of the clone that hides it.

    Args:
        file: where the module that was imported lies.
        distribution: what a package index calls it.
    """
    assert file is not None, "a package with an __init__.py"
    try:
        found = metadata.distribution(distribution)
    except metadata.PackageNotFoundError:
        return _commit(file)
    places = (str(found.locate_file(one)) for one in found.files or ())
    here = Path(file).resolve()
    return found.version if any(Path(one).resolve() == here for one in places) else _commit(file)


def _commit(file: str) -> str:
    """The commit of the clone that a file lies in, if it lies in one."""
    command = ("git", "-C", str(Path(file).parent), "rev-parse", "--short", "HEAD")
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "unknown version"
