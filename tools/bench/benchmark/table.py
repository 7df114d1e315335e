"""What was measured as Markdown, and as values for JSON."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from benchmark.measure import Measured, Result
from benchmark.worker import WRONG, Unable

# Whose seconds the ratios are of.
MEASURE = "mlograph"

_HEAD = ("problem", "library", "ms an update", f"× {MEASURE}", "peak MB", "difference")


def markdown(results: Mapping[str, Mapping[str, Result]]) -> str:
    """A row for each library on each problem, and the notes of the cells."""
    notes: dict[str, int] = {}
    rows = [row for name, found in results.items() for row in _rows(name, found, notes)]
    lines = [_line(_HEAD), _line(["---", "---", *["--:"] * 4]), *map(_line, rows)]
    return "\n".join([*lines, "", *(f"{number}. {text}" for text, number in notes.items())])


def plain(results: Mapping[str, Mapping[str, Result]]) -> dict[str, Any]:
    """By problem and library, all rounds."""
    return {
        problem: {library: asdict(result) for library, result in found.items()}
        for problem, found in results.items()
    }


def versions(results: Mapping[str, Mapping[str, Result]]) -> str:
    """Which release or commit of each library ran."""
    found: dict[str, str] = {}
    for by_library in results.values():
        for name, result in by_library.items():
            if isinstance(result, Measured):
                found[name] = result.checked.version
    return ", ".join(f"{name} {version}" for name, version in found.items())


def _rows(
    problem: str, found: Mapping[str, Result], notes: dict[str, int]
) -> Iterator[Sequence[str]]:
    unit = found.get(MEASURE)
    for name, result in found.items():
        if isinstance(result, Unable):
            text = _noted(result.word, f"{name}: {result.reason}", notes)
            yield (problem, name, text, "", "", "")
            continue
        ratio = f"{result.ratio(unit):.2f}" if isinstance(unit, Measured) else ""
        error = result.checked.error
        difference = "0" if error == 0 else f"{error:.0e}" if error < WRONG else f"**{error:.2g}**"
        if result.checked.note:
            difference = _noted(difference, f"{name}: {result.checked.note}", notes)
        peak = f"{result.peak / 1e6:.0f}" if result.peak > 0 else ""
        yield (problem, name, f"{1e3 * result.seconds:.3g}", ratio, peak, difference)


def _noted(text: str, note: str, notes: dict[str, int]) -> str:
    return f"{text} ({notes.setdefault(note, len(notes) + 1)})"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
