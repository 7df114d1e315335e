"""What was measured as Markdown, and as values for JSON and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gallery.entry import Entry
from gallery.measure import OURS, Measured, Outcome

# By entry and variant.
Results = Mapping[str, Mapping[str, Measured]]

_HEAD = ("graph", "metric", "baseline", "without", "with", "seeds", "seconds")


def markdown(results: Results, entries: Mapping[str, Entry]) -> str:
    """A row for each baseline of each entry; a mean is followed by the deviation over seeds."""
    rows = [row for name, found in results.items() for row in _rows(entries[name], found)]
    return "\n".join(map(_line, [_HEAD, ("---", "---", "---", *["--:"] * 4), *rows]))


def plain(results: Results) -> dict[str, Any]:
    """By entry, variant and seed."""
    return {
        name: {
            variant: {str(seed): asdict(one) for seed, one in measured.outcomes.items()}
            for variant, measured in found.items()
        }
        for name, found in results.items()
    }


def restored(values: Mapping[str, Any]) -> dict[str, dict[str, Measured]]:
    """The results that `plain` made these values of."""
    return {
        name: {
            variant: Measured({int(seed): Outcome(**one) for seed, one in outcomes.items()})
            for variant, outcomes in found.items()
        }
        for name, found in values.items()
    }


def _rows(entry: Entry, found: Mapping[str, Measured]) -> Iterator[Sequence[str]]:
    ours = found[OURS]
    arrow = "↑" if entry.better == "higher" else "↓"
    for index, baseline in enumerate(entry.baselines):
        first = index == 0
        other = found[baseline.name]
        yield (
            f"`{entry.graph}`" if first else "",
            f"{entry.metric} {arrow}" if first else "",
            baseline.name,
            _number(entry, other),
            _number(entry, ours) if first else "",
            str(len(ours.outcomes)) if first else "",
            f"{ours.seconds:.0f}" if first else "",
        )


def _number(entry: Entry, measured: Measured) -> str:
    if entry.percent:
        return f"{100 * measured.mean:.1f}% ± {100 * measured.deviation:.1f}"
    return f"{measured.mean:.3g} ± {measured.deviation:.2g}"


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
