"""A profile as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from mlograph.profiling.observer import Aside
from mlograph.profiling.profile import Profile, Row
from mlograph.terminal import printable_line

_MIB = 1024 * 1024
_HEAD = ("calls", "total", "mean", "longest", "share", "peak", "growth")
Cells = tuple[str, ...]


def as_text(profile: Profile) -> str:
    """Two tables and a line about the whole run, safe for a terminal."""
    lines = [*_table("instruction", profile.instructions()), ""]
    lines += [*_table("problem", profile.problems()), ""]
    peak = f", at most {mebibytes(profile.peak)} ({profile.measured})" if profile.peak else ""
    lines.append(f"{seconds(profile.seconds)} on {profile.device}{peak}")
    return "\n".join(lines)


def seconds(value: float) -> str:
    """A duration with three digits: `12.3 ms`."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if value >= size:
            return f"{_three(value / size)} {unit}"
    return f"{_three(value / 1e-6)} µs"


def mebibytes(value: int | None) -> str:
    """`412.1 MiB`; empty for None."""
    return "" if value is None else f"{value / _MIB:,.1f} MiB"


def _three(value: float) -> str:
    decimals = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:,.{decimals}f}"


def _table(title: str, rows: Sequence[Row]) -> Iterator[str]:
    cells = [(title, *_HEAD), *map(_cells, rows)]
    # A column that says nothing is left out.
    kept = [at for at in range(len(_HEAD) + 1) if any(line[at] for line in cells[1:])]
    widths = {at: max(len(line[at]) for line in cells) for at in kept}
    for line in cells:
        first, *rest = kept or [0]
        parts = [line[first].ljust(widths.get(first, 0))]
        parts += [line[at].rjust(widths[at]) for at in rest]
        yield "  ".join(parts).rstrip()


def _cells(row: Row) -> Cells:
    growth = "" if row.growth is None else f"+{mebibytes(row.growth)}"
    each = (f"{row.calls:,}", seconds(row.mean), seconds(row.longest))
    # The rest of a run is one stretch, and no call.
    calls, average, longest = ("", "", "") if row.kind == Aside.RUN.value else each
    return (
        printable_line(row.name),
        calls,
        seconds(row.seconds),
        average,
        longest,
        f"{100 * row.share:.1f}%",
        mebibytes(row.peak),
        growth,
    )
