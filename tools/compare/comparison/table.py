"""Errors as Markdown: a row for each case and method, a column for each library."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from cases import relative_error
from torch import Tensor

from comparison.libraries.protocol import Library, UnsupportedError
from comparison.trials import Trial

# Errors from here on are not rounding.
WRONG = 1e-6


@dataclass(frozen=True)
class Answer:
    """What a library gave for a trial.

    Attributes:
        found: the hypergradient, or the word that stands in its place.
        note: below the table; of a hypergradient, only where it is not what was promised.
    """

    found: Tensor | str
    note: str


@dataclass(frozen=True)
class Row:
    """What every library found for a trial."""

    trial: Trial
    answers: Mapping[str, Answer]


def measured(libraries: Mapping[str, Library | None], trials: Iterable[Trial]) -> Iterator[Row]:
    """One row after the other."""
    for trial in trials:
        yield Row(trial, {name: _answer(library, trial) for name, library in libraries.items()})


def _answer(library: Library | None, trial: Trial) -> Answer:
    if library is None:
        return Answer("not run", "not installed")
    try:
        return Answer(library.hypergradient(trial), library.remark(trial))
    except UnsupportedError as error:
        return Answer("cannot", str(error))
    except AssertionError as error:
        return Answer("refuses", str(error))
    except Exception as error:
        # Whatever a library raises is its answer.
        line = str(error).split("\n", maxsplit=1)[0]
        return Answer("fails", f"{type(error).__name__}: {line}")


def markdown(rows: Iterable[Row], libraries: Sequence[str], *, truth: bool) -> str:
    """The table, and the notes of its cells.

    Args:
        rows: one for each trial.
        libraries: the columns.
        truth: errors against the true hypergradient, instead of what the method promises.
            The third column is how far the promise is from the truth in either case.
    """
    notes = Notes()
    lines = []
    for row in rows:
        promised, true = row.trial.promised, row.trial.true
        judge = Judge(promised, true if truth else promised, notes)
        own = _number(relative_error(promised, true))
        cells = (judge.cell(name, row.answers[name]) for name in libraries)
        lines.append([row.trial.case.name, str(row.trial.method), own, *cells])
    head = ["case", "method", "its own error", *libraries]
    return "\n".join([*_table(head, lines), "", *notes])


class Notes:
    """Numbered notes, in the order in which they first appear."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, note: str) -> int:
        """The number of a note; the same for the same note."""
        return self._numbers.setdefault(note, len(self._numbers) + 1)

    def __iter__(self) -> Iterator[str]:
        for note, number in self._numbers.items():
            yield f"{number}. {note}"


@dataclass(frozen=True)
class Judge:
    """Writes the cells of a row.

    Attributes:
        promised: what is not equal to it is printed in bold.
        expected: what errors are measured against.
        notes: of the table.
    """

    promised: Tensor
    expected: Tensor
    notes: Notes

    def cell(self, name: str, answer: Answer) -> str:
        """An error, or the word that stands for it; with the number of a note."""
        if isinstance(answer.found, str):
            text = answer.found
        else:
            text = _number(relative_error(answer.found, self.expected))
            if relative_error(answer.found, self.promised) < WRONG:
                return text
            text = f"**{text}**"
        return f"{text} ({self.notes.number(f'{name}: {answer.note}')})" if answer.note else text


def _number(error: float) -> str:
    return "0" if error == 0.0 else f"{error:.0e}" if error < WRONG else f"{error:.2g}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield _line(head)
    yield _line(["---"] * len(head))
    yield from map(_line, rows)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
