"""The runs of a sweep: every combination of the axes, or some that are drawn."""

from __future__ import annotations

import hashlib
import itertools
import math
import random
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from mlograph.campaign.axes import Axes, Axis
from mlograph.campaign.values import Choice
from mlograph.errors import Fault, GraphError, Location, UsageError
from mlograph.language.overrides import SOURCE_NAME

_UNSAFE = re.compile(r"[^A-Za-z0-9_.+=,-]+")
_LONGEST_NAME = 120

Chosen = Mapping[str, Choice]


@dataclass(frozen=True)
class Run:
    """One run of a sweep.

    Attributes:
        name: of its folder.
        setting: number of its setting; runs of one setting differ in their seed alone.
        chosen: by path, the values of all axes.
        overrides: that make it.
        steps: updates of the counted problem that it asks for; 0 where that is not known.
        threads: of its process.
    """

    name: str
    setting: int
    chosen: Chosen
    overrides: tuple[str, ...]
    steps: int = 0
    threads: int = 1

    @property
    def values(self) -> dict[str, str]:
        """The values of all axes, as they are written."""
        return {path: choice.text.strip() for path, choice in self.chosen.items()}


def count(axes: Axes, draws: int | None) -> int:
    """How many runs there are.

    Raises:
        GraphError: an axis has no values but those that are drawn, and nothing is drawn.
    """
    if draws is None:
        _refuse_open(axes, axes.axes, "give --random N or --optuna N, or how many: {}:5")
        return math.prod(len(axis.choices) for axis in axes.axes)
    return int(min(draws, _combinations(axes))) * _seeds(axes)


def settings(axes: Axes, draws: int | None, seed: int) -> Iterator[Chosen]:
    """The settings: values of all axes but that of seeds.

    Args:
        axes: what is varied.
        draws: how many to draw, no two the same; None for all combinations. Where there are no
            more combinations than that, all of them, in order.
        seed: of the draws; the first n of them are the same, however many there are.
    """
    varied = axes.varied
    if draws is None or _combinations(axes) <= draws:
        for choices in itertools.product(*(axis.choices for axis in varied)):
            yield {axis.path: choice for axis, choice in zip(varied, choices, strict=True)}
        return
    source = random.Random(seed)
    seen: set[tuple[str, ...]] = set()
    tries = 0
    while len(seen) < draws:
        tries += 1
        if tries > 1000 * draws:
            raise UsageError(f"--random {draws}: after {len(seen)} draws hardly any are new")
        drawn = {axis.path: _draw(axis, source) for axis in varied}
        key = tuple(choice.text for choice in drawn.values())
        if key not in seen:
            seen.add(key)
            yield drawn


def repeated(axes: Axes, setting: int, chosen: Chosen, prefix: str = "") -> tuple[Run, ...]:
    """The runs of one setting: one for each seed."""
    if axes.seeds is None:
        everything = [chosen]
    else:
        _refuse_open(axes, [axes.seeds], "list seeds, as in engine.seed=0..4")
        path = axes.seeds.path
        everything = [{**chosen, path: choice} for choice in axes.seeds.choices]
    return tuple(
        Run(prefix + name_of(axes, each), setting, each, axes.overrides(each))
        for each in everything
    )


def name_of(axes: Axes, chosen: Chosen) -> str:
    """The name of a folder that tells the values: `unroll_steps=5,seed=0`.

    What no folder's name should hold becomes `-`, and six digits tell such names apart.
    """
    labels = axes.labels()
    full = ",".join(f"{labels[path]}={choice.text.strip()}" for path, choice in chosen.items())
    safe = _UNSAFE.sub("-", full)
    if safe == full and len(full) <= _LONGEST_NAME:
        return full or "run"
    return f"{safe[:_LONGEST_NAME]}-{hashlib.sha256(full.encode()).hexdigest()[:6]}"


def _seeds(axes: Axes) -> int:
    return len(axes.seeds.choices) if axes.seeds is not None else 1


def _combinations(axes: Axes) -> float:
    """Of all axes but that of seeds; without end where one is drawn from."""
    if any(not axis.choices for axis in axes.varied):
        return math.inf
    return math.prod(len(axis.choices) for axis in axes.varied)


def _draw(axis: Axis, source: random.Random) -> Choice:
    if axis.choices:
        return source.choice(axis.choices)
    assert axis.span is not None, "an axis without choices is drawn from its span"
    return Choice(axis.span.draw(source), len(axis.key) + 1, verbatim=False)


def _refuse_open(axes: Axes, some: Sequence[Axis], hint: str) -> None:
    """Refuse axes that only say what to draw from.

    Raises:
        GraphError: there are some.
    """
    faults = []
    for axis in some:
        if not axis.choices:
            word, start = axes.words[axis.number - 1], len(axis.key) + 1
            place = Location(SOURCE_NAME, axis.number, start + 1, word)
            message = "says what to draw from, and not how often"
            faults.append(Fault((axis.path,), message, hint.format(word[start:]), place))
    if faults:
        raise GraphError(faults)
