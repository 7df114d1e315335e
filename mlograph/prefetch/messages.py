"""What a run and a process that reads ahead for it tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True)
class Setup:
    """How torch computes in the run; the last bits of numbers may depend on it.

    Attributes:
        threads: of torch.
        precision: of products of float32 matrices.
        deterministic: whether it may only use algorithms that always give the same.
        dtype: of new tensors.
        learn2learn: whether the run has imported it, which takes more than an import.
    """

    threads: int
    precision: str
    deterministic: bool
    dtype: torch.dtype
    learn2learn: bool


@dataclass(frozen=True)
class Source:
    """What shall be read from.

    Attributes:
        source: an Env or an iterable of batches.
        position: where the reading of an iterable stands; None for an Env, which is there already.
        place: of it in the graph.
    """

    source: Any
    position: dict[str, Any] | None
    place: str


@dataclass(frozen=True)
class Follow:
    """Read what the run has read by itself.

    Attributes:
        draws: for each, generators as they were before, among them those that it moved.
    """

    draws: tuple[Mapping[int, Any], ...]


@dataclass(frozen=True)
class Go:
    """Read on from these states of all generators, and have so many batches ready."""

    states: Mapping[int, Any]
    ahead: int


@dataclass(frozen=True)
class More:
    """One of what was ready has been taken."""


@dataclass(frozen=True)
class Ready:
    """The source is here, and stands where it stood."""


@dataclass(frozen=True)
class Followed:
    """The last batch that was read, as a fingerprint."""

    fingerprint: str


@dataclass(frozen=True)
class Drawn:
    """A batch.

    Attributes:
        batch: it.
        moved: the generators that reading it moved, by number: before and after.
        state: where the source stands after it, packed.
        printed: what the source printed, to the standard output and error.
    """

    batch: Any
    moved: Mapping[int, tuple[Any, Any]]
    state: bytes
    printed: tuple[str, str]


@dataclass(frozen=True)
class Ended:
    """The epoch is over; the next one begins with the random numbers that there are then."""


@dataclass(frozen=True)
class Failed:
    """Reading failed.

    Attributes:
        moved: as in `Drawn`.
        error: what the run shall say, packed; None where it has to find out for itself.
        printed: as in `Drawn`.
    """

    moved: Mapping[int, tuple[Any, Any]]
    error: bytes | None
    printed: tuple[str, str]


@dataclass(frozen=True)
class Useless:
    """Why the source cannot be read here."""

    reason: str
