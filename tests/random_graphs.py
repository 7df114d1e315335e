"""Random graphs of problems, for properties that hold of all."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from mlograph.graph import ProblemGraph, build
from mlograph.language import parse


def structure(problems: dict[str, dict[str, Any]], edges: list[str], **more: Any) -> ProblemGraph:
    """A checked graph; a problem is given by what it does not share with all others."""
    usual = {"module": "torch.nn.Identity", "loss": "losses.loss", "optimizer": "sgd"}
    return build(
        parse(
            {
                "mlograph": 1,
                "name": "graph",
                "problems": {name: usual | given for name, given in problems.items()},
                "edges": [dict([edge.split(": ")]) for edge in edges],
                "engine": {"of": next(iter(problems))} | more.pop("engine", {}),
                **more,
            }
        )
    )


def names(count: int) -> list[str]:
    return [f"p{index}" for index in range(count)]


@st.composite
def hierarchies(draw: st.DrawFn, largest: int = 6) -> tuple[list[str], list[tuple[str, str]]]:
    """Problems in an order that leads upwards, and l2u edges; only the last may lie on top."""
    problems = names(draw(st.integers(2, largest)))
    edges = []
    for index, lower in enumerate(problems[:-1]):
        above = problems[index + 1 :]
        uppers = draw(st.lists(st.sampled_from(above), min_size=1, max_size=3, unique=True))
        edges += [(lower, upper) for upper in uppers]
    return problems, edges


@st.composite
def unnested(draw: st.DrawFn) -> tuple[list[str], list[str]]:
    """A hierarchy whose top alone constrains others: at least one."""
    problems, upwards = draw(hierarchies())
    *lower, top = problems
    moved = draw(st.lists(st.sampled_from(lower), min_size=1, unique=True))
    edges = [f"l2u: {source} -> {target}" for source, target in upwards]
    edges += [f"u2l: {top} -> {name}" for name in moved]
    shuffled = draw(st.permutations(problems))
    return [*shuffled], edges
