"""The problems: a setting and a method each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from benchmark.methods import ConjugateGradient, Darts, Method, Neumann, Unroll
from benchmark.settings import FewShot, Penalties, Reweighting, Setting


@dataclass(frozen=True)
class Problem:
    """What everyone does in an update, as `replace` may have made it smaller."""

    setting: Setting
    method: Method


_NARROW = FewShot(hidden=16, shots=1, weight=2.0)
_WIDE = FewShot(hidden=64, shots=5, weight=2.0)
_REWEIGHTING = Reweighting()

PROBLEMS = {
    "imaml-darts-16": Problem(_NARROW, Darts()),
    "imaml-darts-64": Problem(_WIDE, Darts()),
    "imaml-cg-16": Problem(_NARROW, ConjugateGradient(3)),
    "imaml-cg-64": Problem(_WIDE, ConjugateGradient(3)),
    "maml-16": Problem(replace(_NARROW, weight=0.0), Unroll()),
    "maml-64": Problem(replace(_WIDE, weight=0.0), Unroll()),
    "reweight-darts": Problem(_REWEIGHTING, Darts()),
    "reweight-cg": Problem(_REWEIGHTING, ConjugateGradient(3)),
    "reweight-neumann": Problem(_REWEIGHTING, Neumann(3, _REWEIGHTING.rate)),
    "reweight-unroll": Problem(_REWEIGHTING, Unroll()),
    "hpo-cg": Problem(Penalties(), ConjugateGradient(10)),
}


def chosen(names: Iterable[str]) -> Iterator[str]:
    """The problems whose names begin so, in the order of `PROBLEMS`; all where nothing is asked.

    Raises:
        ValueError: a name fits none.
    """
    wanted = tuple(names)
    for name in wanted:
        if not any(known.startswith(name) for known in PROBLEMS):
            raise ValueError(f"no problem '{name}', only {', '.join(PROBLEMS)}")
    yield from (name for name in PROBLEMS if not wanted or name.startswith(wanted))


def tiny(problem: Problem) -> Problem:
    """The same with next to nothing to compute: for whether all agree, not for how long."""
    match problem.setting:
        case FewShot() as setting:
            small: Setting = replace(setting, hidden=4, shots=2, queries=2, passes=3)
        case Reweighting() as setting:
            small = replace(setting, features=20, hidden=8, samples=12)
        case Penalties() as setting:
            small = replace(setting, features=30, samples=20)
        case setting:
            raise AssertionError(f"no small {type(setting).__name__}")
    return replace(problem, setting=small)
