"""The axes of a sweep: overrides with several values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from mlograph.campaign.values import BadValuesError, Choice, Span, Values, read_values
from mlograph.errors import Fault, GraphError, Location
from mlograph.language.overrides import SOURCE_NAME

SEED = "engine.seed"

_HEAD = re.compile(r"(?P<key>\+?[^=~\s][^=\s]*)=")
_STEP = re.compile(r"[^.\[\]]+")


@dataclass(frozen=True)
class Axis:
    """A place in the graph, and what stands there in turn.

    Attributes:
        number: of the word of the command that says so, from 1.
        key: what an override of it begins with: `engine.seed`, or `+new.key`.
        values: what stands there.
    """

    number: int
    key: str
    values: Values

    @property
    def path(self) -> str:
        """The place."""
        return self.key.removeprefix("+")

    @property
    def choices(self) -> tuple[Choice, ...]:
        """What stands there in turn; empty where it is drawn."""
        return self.values.choices

    @property
    def span(self) -> Span | None:
        """What is drawn from, or what the choices are a range of."""
        return self.values.span


@dataclass(frozen=True)
class Axes:
    """What the words of a command say.

    Attributes:
        words: the words; those of axes, and overrides that all runs share.
        axes: the axes, in the order of the words.
    """

    words: tuple[str, ...]
    axes: tuple[Axis, ...]

    @property
    def seeds(self) -> Axis | None:
        """The axis of seeds: runs that differ in nothing else are repetitions."""
        return next((axis for axis in self.axes if axis.path == SEED), None)

    @property
    def varied(self) -> tuple[Axis, ...]:
        """The other axes."""
        return tuple(axis for axis in self.axes if axis.path != SEED)

    def overrides(self, chosen: Mapping[str, Choice]) -> tuple[str, ...]:
        """The overrides of one run, one for each word; `chosen` by path."""
        texts = list(self.words)
        for axis in self.axes:
            texts[axis.number - 1] = f"{axis.key}={chosen[axis.path].text}"
        return tuple(texts)

    def located(self, faults: Iterable[Fault], chosen: Mapping[str, Choice]) -> GraphError:
        """Faults of one run, with their places in the words instead of in its overrides."""
        return GraphError(self._locate(fault, chosen) for fault in faults)

    def _locate(self, fault: Fault, chosen: Mapping[str, Choice]) -> Fault:
        place = fault.location
        if place is None or place.file != SOURCE_NAME or place.line > len(self.words):
            return fault
        word, column = self.words[place.line - 1], place.column
        axis = next((axis for axis in self.axes if axis.number == place.line), None)
        if axis is not None and column > len(axis.key) + 1:
            choice = chosen[axis.path]
            inside = column - len(axis.key) - 2 if choice.verbatim else 0
            column = choice.index + inside + 1
        return replace(fault, location=Location(SOURCE_NAME, place.line, column, word))

    def labels(self) -> dict[str, str]:
        """The shortest end of every path that tells it apart from the others, by path."""
        steps = {axis.path: _STEP.findall(axis.path) for axis in self.axes}
        found = {}
        for path, own in steps.items():
            others = [other for name, other in steps.items() if name != path]
            count = 1
            while count < len(own) and any(own[-count:] == other[-count:] for other in others):
                count += 1
            found[path] = ".".join(own[-count:])
        return found


def read_axes(words: Sequence[str]) -> Axes:
    """The axes among overrides: those with several values, or with values to draw.

    Raises:
        GraphError: everything that is wrong with them, with its place.
    """
    axes: list[Axis] = []
    faults: list[Fault] = []
    for number, word in enumerate(words, start=1):
        head = _HEAD.match(word)
        if head is None or not word.isprintable():
            continue  # what removes is the same for all runs; what is none is told by a run's check
        try:
            values = read_values(word, head.end())
        except BadValuesError as error:
            place = Location(SOURCE_NAME, number, error.index + 1, word)
            path = (head["key"].removeprefix("+"),)
            faults.append(Fault(path, error.message, error.hint, place))
            continue
        ranged = any(not choice.verbatim for choice in values.choices)
        if len(values.choices) != 1 or ranged:
            axis = Axis(number, head["key"], values)
            if any(axis.path == other.path for other in axes):
                place = Location(SOURCE_NAME, number, 1, word)
                faults.append(Fault((axis.path,), "is swept twice", "", place))
            axes.append(axis)
    if faults:
        raise GraphError(faults)
    return Axes(tuple(words), tuple(axes))
