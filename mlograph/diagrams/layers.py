"""A layered layout (after Sugiyama, Tagawa and Toda, 1981) of nodes whose rows are known.

An edge that spans several rows gets a bend in each row between; bends are ordered and placed like
nodes, so edges go round what they pass. Rows are ordered by barycentres, and the places within a
row minimise the squared distance to the neighbours' mean.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

Item = str | tuple[str, str, int]  # a node's name, or a bend: (upper, lower, row)

_SWEEPS = 12


@dataclass(frozen=True)
class Layers:
    """Where everything stands.

    Attributes:
        rows: nodes and bends from left to right, uppermost row first.
        centres: the horizontal centre of each.
    """

    rows: tuple[tuple[Item, ...], ...]
    centres: Mapping[Item, float]

    def chain(self, upper: str, lower: str) -> tuple[Item, ...]:
        """What the edge between two nodes passes, both ends included."""
        bends = [item for row in self.rows for item in row if item[:2] == (upper, lower)]
        return (upper, *bends, lower)


def arrange(
    levels: Mapping[str, int],
    widths: Mapping[str, float],
    pairs: Iterable[tuple[str, str]],
    gap: float,
) -> Layers:
    """Rows in an order with few crossings, and horizontal places.

    Args:
        levels: the row of every node.
        widths: of every node.
        pairs: (upper, lower) ends of edges, the upper one in a row above the lower one's.
        gap: between neighbours in a row.
    """
    net = _Net([[] for _ in range(max(levels.values()) + 1)])
    for name, level in levels.items():
        net.rows[level].append(name)
    for upper, lower in dict.fromkeys(pairs):
        net.add(upper, lower, levels)
    rows = _ordered(net)
    return Layers(tuple(map(tuple, rows)), _centres(net, rows, widths, gap))


@dataclass
class _Net:
    rows: list[list[Item]]
    up: dict[Item, list[Item]] = field(default_factory=dict)
    down: dict[Item, list[Item]] = field(default_factory=dict)

    def add(self, upper: str, lower: str, levels: Mapping[str, int]) -> None:
        """An edge as links between neighbouring rows."""
        last: Item = upper
        for row in range(levels[upper] + 1, levels[lower] + 1):
            bend: Item = (upper, lower, row) if row < levels[lower] else lower
            if row < levels[lower]:
                self.rows[row].append(bend)
            self.down.setdefault(last, []).append(bend)
            self.up.setdefault(bend, []).append(last)
            last = bend


def _ordered(net: _Net) -> list[list[Item]]:
    rows = [list(row) for row in net.rows]
    best, fewest = rows, _crossings(net, rows)
    for sweep in range(_SWEEPS):
        if not fewest:
            break
        downwards = sweep % 2 == 0
        rows = [list(row) for row in rows]
        for index in range(len(rows)) if downwards else reversed(range(len(rows))):
            other = index - 1 if downwards else index + 1
            if 0 <= other < len(rows):
                _sort_by_barycentre(rows[index], rows[other], net.up if downwards else net.down)
        crossings = _crossings(net, rows)
        if crossings < fewest:
            best, fewest = rows, crossings
    return best


def _sort_by_barycentre(
    row: list[Item], fixed: Sequence[Item], links: Mapping[Item, Sequence[Item]]
) -> None:
    place = {item: index for index, item in enumerate(fixed)}
    # Without a neighbour an item keeps its place, in proportion to the other row's length.
    scale = len(fixed) / max(1, len(row))
    weights = {item: index * scale for index, item in enumerate(row)}
    weights |= {item: _mean([place[x] for x in links[item]]) for item in row if links.get(item)}
    row.sort(key=weights.__getitem__)


def _crossings(net: _Net, rows: Sequence[Sequence[Item]]) -> int:
    total = 0
    for row, below in itertools.pairwise(rows):
        place = {item: index for index, item in enumerate(below)}
        ends = [sorted(place[x] for x in net.down.get(item, ())) for item in row]
        flat = [(left, end) for left, some in enumerate(ends) for end in some]
        total += sum(
            1
            for i, (left, end) in enumerate(flat)
            for later, other in flat[i + 1 :]
            if later > left and other < end
        )
    return total


def _centres(
    net: _Net, rows: Sequence[Sequence[Item]], widths: Mapping[str, float], gap: float
) -> dict[Item, float]:
    offsets = [_offsets(row, widths, gap) for row in rows]
    centres = {
        item: offset - some[-1] / 2
        for row, some in zip(rows, offsets, strict=True)
        for item, offset in zip(row, some, strict=True)
    }
    for sweep in range(_SWEEPS):
        order = range(len(rows)) if sweep % 2 == 0 else reversed(range(len(rows)))
        for index in order:
            wanted = [_wanted(net, item, centres) for item in rows[index]]
            placed = _separated(wanted, offsets[index])
            centres |= dict(zip(rows[index], placed, strict=True))
    left = min(centres[item] - _width(item, widths) / 2 for row in rows for item in row)
    return {item: centre - left for item, centre in centres.items()}


def _wanted(net: _Net, item: Item, centres: Mapping[Item, float]) -> float:
    near = [centres[x] for x in (*net.up.get(item, ()), *net.down.get(item, ()))]
    return _mean(near) if near else centres[item]


def _width(item: Item, widths: Mapping[str, float]) -> float:
    return widths[item] if isinstance(item, str) else 0.0


def _offsets(row: Sequence[Item], widths: Mapping[str, float], gap: float) -> list[float]:
    """The centres of a row that is packed as tightly as it may be."""
    offsets = [0.0] if row else []
    for left, right in itertools.pairwise(row):
        offsets.append(offsets[-1] + (_width(left, widths) + _width(right, widths)) / 2 + gap)
    return offsets


def _separated(wanted: Sequence[float], offsets: Sequence[float]) -> list[float]:
    """The places nearest to those wanted that keep the order and the gaps.

    With the offsets taken off this is isotonic regression, solved by pooling neighbours.
    """
    pools: list[tuple[float, int]] = []
    for want, offset in zip(wanted, offsets, strict=True):
        mean, count = want - offset, 1
        while pools and pools[-1][0] > mean:
            other, size = pools.pop()
            mean, count = (mean * count + other * size) / (count + size), count + size
        pools.append((mean, count))
    flat = [mean for mean, count in pools for _ in range(count)]
    return [mean + offset for mean, offset in zip(flat, offsets, strict=True)]


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
