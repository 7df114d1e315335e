"""Charts with their titles, and what the names mean that mlograph itself logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from mlograph.charts.chart import Curve, overlay
from mlograph.charts.series import Series
from mlograph.loggers.lines import short

_MEANINGS = {
    "residual": "of the linear solves: ‖v − Hw‖ / ‖v‖",
    "products": "matrix-vector products a linear solve",
    "gradient_norm": "Euclidean norm of the gradient",
    "lr": "learning rate",
    "skipped": "updates left out since the log before: values that are not finite",
}
_HYPERGRADIENT = "norm of the whole gradient, hypergradient included"


def figures(parts: Sequence[str]) -> str:
    """Figures beside one another, as many as fit."""
    return f'<div class="figures">\n{"".join(parts)}</div>' if parts else ""


def figure(title: str, facts: Sequence[str], body: str, about: str = "") -> str:
    """A drawing with its title; `facts` are HTML already."""
    small = f" <small>{' · '.join(facts)}</small>" if facts else ""
    meaning = f"<p>{escape(about)}</p>" if about else ""
    return (
        f"<figure>\n<figcaption><b>{escape(title)}</b>{small}{meaning}</figcaption>\n"
        f"{body}\n</figure>\n"
    )


def curve_figure(
    title: str, series: Series, levels: Mapping[str, float] | None = None, about: str = ""
) -> str:
    """One curve, with its last, least and greatest value."""
    finite = {name: value for name, value in (levels or {}).items() if abs(value) < float("inf")}
    facts = []
    if series.points:
        low, high = series.low, series.high
        facts = [f"last {short(series.points[-1][1])}"]
        facts += [f'<span title="at step {low[0]:,}">min {short(low[1])}</span>']
        facts += [f'<span title="at step {high[0]:,}">max {short(high[1])}</span>']
    if series.broken:
        facts.append(f'<span class="bad">{len(series.broken):,} not finite</span>')
    return figure(title, facts, overlay(series.name, [Curve(series)], finite), about)


def meaning(name: str, *, upper: bool) -> str:
    """What a name that mlograph logs stands for; nothing for names of the user's."""
    if name == "gradient_norm" and upper:
        return _HYPERGRADIENT
    if name.startswith("solves_"):
        words = name.removeprefix("solves_").replace("_", " ")
        return f"linear solves since the log before that ended so: {words}"
    return _MEANINGS.get(name, "")


def importance(name: str) -> int:
    """Where a name stands among the curves of a problem: losses first, bookkeeping last."""
    order = ("loss", "", "gradient_norm", "residual", "products", "solves_", "skipped", "lr")
    if name.startswith("solves_"):
        return order.index("solves_")
    return order.index(name) if name in order else 1
