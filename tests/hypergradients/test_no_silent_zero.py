"""A hypergradient that can only be zero is an error that names the edge, at the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from builders import pair, problem
from cases import (
    CASES,
    Case,
    Point,
    after_loops,
    at_rest,
    bound,
    diamond,
    hidden_path,
    nested,
    quadratic,
    relative_error,
)
from torch import Tensor

from mlograph import Graph
from mlograph.errors import NumericError, UsageError
from mlograph.hypergradients import METHODS
from mlograph.language import methods

# All but those that send nothing back by design.
SENDING = [name for name, kind in methods.METHODS.items() if not kind.only_start]

each_method = pytest.mark.parametrize("name", SENDING)


def said(case: Case, method: Any, edges: tuple[str, ...] = (), **losses: Any) -> str:
    """What is said in the first pass if some losses do not touch what their edges declare."""
    changed = replace(
        case, losses={**case.losses, **losses}, edges=(*case.edges, *edges), partial=False
    )
    with pytest.raises(NumericError) as caught:
        after_loops(bound(changed.graph(method)), case.upper)
    return str(caught.value)


def parted(inner: Any, outer: Any) -> Tensor:
    """The upper problem moves the head of the lower one, and nothing else."""
    named = inner.named_parameters()
    return (named["head"] - outer().sum()).square().sum() + named["tail"].square().sum()


DEAD: dict[str, Callable[[Any, Any], Tensor]] = {
    "not read": lambda inner, outer: inner().square().sum(),
    "read apart": lambda inner, outer: inner().square().sum() + outer().square().sum(),
    "read detached": lambda inner, outer: (inner() - outer().sum().detach()).square().sum(),
    # Autograd gives derivatives of it: zeros.
    "read rounded": lambda inner, outer: (inner() - outer().sum().round()).square().sum(),
}


def test_methods_without_a_line_of_their_own_are_tried():
    assert set(SENDING) < set(METHODS)
    assert len(SENDING) >= len(METHODS) - 2


# A loop that is run again does not know of `detach`.
SEEN = {("read detached", "es")}


@pytest.mark.parametrize(
    ("inner", "name"), [(i, n) for i in DEAD for n in SENDING if (i, n) not in SEEN]
)
def test_a_lower_loss_that_the_upper_problem_cannot_move(inner: str, name: str):
    message = said(quadratic(), name, inner=DEAD[inner])
    assert "so the edge 'outer -> inner' has no effect" in message


def without_gradient(inner: Any, outer: Any) -> Tensor:
    with torch.no_grad():
        seen = outer().sum()
    return (inner() - seen).square().sum()


# By which problem is frozen, and in which part the two meet.
FROZEN: dict[str, Callable[[Any, Any], Tensor]] = {
    "upper": lambda upper, lower: (lower() - upper.named_parameters()["tail"].sum()).square().sum(),
    "lower": lambda upper, lower: (
        lower().square().sum() + upper().sum() * lower.named_parameters()["tail"].sum()
    ),
}


@pytest.mark.parametrize("name", [name for name in SENDING if ("read detached", name) not in SEEN])
def test_an_upper_problem_that_is_read_without_a_gradient(name: str):
    message = said(quadratic(), name, inner=without_gradient)
    assert "so the edge 'outer -> inner' has no effect" in message


@each_method
@pytest.mark.parametrize("frozen", FROZEN)
def test_two_problems_that_meet_in_a_frozen_part_only(frozen: str, name: str):
    point = quadratic().points["inner"]
    made = {
        "upper": problem(Point(point), lambda upper, lower: (upper() - lower()).square().sum()),
        "lower": problem(Point(point), FROZEN[frozen], hypergradient=name, unroll_steps=2),
    }
    made[frozen]["freeze"] = "tail"
    with pytest.raises(NumericError) as caught:
        after_loops(bound(pair(**made)), "upper")
    assert "so the edge 'upper -> lower' has no effect" in str(caught.value)


@each_method
def test_a_lower_problem_that_moves_where_nobody_looks(name: str):
    def tail_only(inner: Any, outer: Any) -> Tensor:
        return inner.named_parameters()["tail"].sum() + outer().square().sum()

    message = said(quadratic(), name, inner=parted, outer=tail_only)
    assert "so the edge 'outer -> inner' has no effect" in message


@each_method
def test_an_upper_loss_that_does_not_look_at_the_lower_problem(name: str):
    message = said(quadratic(), name, outer=lambda inner, outer: outer().square().sum())
    assert "so the edge 'l2u: inner -> outer' has no effect" in message


NUMBERS: dict[str, Callable[[Any, Any], Tensor]] = {
    "detached": lambda inner, outer: inner().square().sum().detach(),
    "a count": lambda inner, outer: (inner() > 0).sum(),
    "rounded": lambda inner, outer: (inner().round() - 1).square().sum(),
    "beside a term with a gradient": lambda inner, outer: (inner() > 0).sum() + outer().sum(),
}


@each_method
@pytest.mark.parametrize("outer", NUMBERS)
def test_for_a_loss_without_a_gradient_the_method_that_needs_none_is_named(outer: str, name: str):
    message = said(quadratic(), name, outer=NUMBERS[outer])
    assert (
        "so the edge 'l2u: inner -> outer' has no effect (for a loss without a gradient" in message
    )
    assert "give 'inner' 'hypergradient: {method: es, estimate: objective}'" in message


@pytest.mark.parametrize("outer", NUMBERS)
def test_that_method_needs_none(outer: str):
    losses = {**quadratic().losses, "outer": NUMBERS[outer]}
    method = {"method": "es", "estimate": "objective", "sigma": 30.0}
    assert after_loops(bound(replace(quadratic(), losses=losses).graph(method)), "outer").any()


def test_a_loss_without_a_gradient_and_nothing_below_is_a_mistake_that_is_named():
    graph = Graph(
        problems={
            "alone": {
                "module": Point(quadratic().points["inner"]),
                "loss": lambda alone: (alone() > 0).sum(),
                "optimizer": "sgd",
                "precision": "float64",
            }
        },
        engine={"device": "cpu", "steps": 1},
    )
    with pytest.raises(UsageError) as caught:
        graph.run(quiet=True)
    assert str(caught.value) == (
        "problems.alone.loss: the loss does not depend on the parameters of 'alone', "
        "directly or through a lower problem"
    )


def test_an_upper_loss_that_is_only_evaluated_must_look_as_well():
    method = {"method": "es", "estimate": "objective"}
    message = said(quadratic(), method, outer=lambda inner, outer: outer().square().sum())
    assert message == (
        "the loss of 'outer' never looks at 'inner', "
        "so the edge 'l2u: inner -> outer' has no effect"
    )


@each_method
def test_a_dead_edge_beside_a_live_one(name: str):
    message = said(diamond(), name, right=lambda right, leaf: right().square().sum())
    assert "so the edge 'leaf -> right' has no effect" in message


@each_method
@pytest.mark.parametrize("factor", [0.0, 1.0])
def test_a_zero_that_could_be_something_else_is_no_error(factor: float, name: str):
    """The numbers make it zero, here or above, and other numbers would not."""

    def inner_loss(inner: Any, outer: Any) -> Tensor:
        return inner().square().sum() + factor * inner().sum() * outer().sum()

    def outer_loss(inner: Any, outer: Any) -> Tensor:
        return outer().square().sum() + (1 - factor) * inner().sum()

    case = quadratic()
    losses = {"inner": inner_loss, "outer": outer_loss}
    found = after_loops(bound(replace(case, losses=losses).graph(name)), "outer")
    assert relative_error(found, 2 * case.points["outer"]) < 1e-12


def quiet(view: Any) -> Tensor:
    return view().square().sum()


# By case: what is changed, and the edge that is then without an effect.
NESTED: dict[str, tuple[Case, dict[str, Any], tuple[str, ...], str]] = {
    "the only way, through what answers": (
        nested(partial=False),
        {"leaf": lambda leaf, middle, top: quiet(leaf) + leaf().sum() * middle().sum()},
        (),
        "top -> leaf",
    ),
    "through what answers, beside a live one": (
        nested(partial=False),
        {
            "leaf": lambda leaf, middle, top: quiet(leaf) + leaf().sum() * middle().sum(),
            "middle": lambda middle, leaf, top: (
                quiet(middle) + middle().sum() * (leaf().sum() + top().sum())
            ),
        },
        ("u2l: top -> middle",),
        "top -> leaf",
    ),
    "direct, beside a live one": (
        nested(partial=False),
        {
            "middle": lambda middle, leaf, top: (
                quiet(middle) + middle().sum() * leaf().sum() + quiet(top)
            )
        },
        ("u2l: top -> middle",),
        "top -> middle",
    ),
    "down to what answers": (
        nested(partial=False),
        {"leaf": lambda leaf, middle, top: quiet(leaf) + leaf().sum() * top().sum()},
        (),
        "middle -> leaf",
    ),
    "hidden, first part": (
        hidden_path(partial=False),
        {"m": lambda m, k, j: quiet(m) + j().sum()},
        (),
        "k -> m",
    ),
    "hidden, second part": (
        hidden_path(partial=False),
        {"j": lambda j, m: quiet(j)},
        (),
        "m -> j",
    ),
}


@pytest.mark.parametrize("where", NESTED)
def test_dead_edges_of_nested_graphs(where: str):
    case, losses, edges, dead = NESTED[where]
    changed = replace(case, losses={**case.losses, **losses}, edges=(*case.edges, *edges))
    with pytest.raises(NumericError) as caught:
        at_rest(bound(changed.graph("exact")), case.upper)
    assert f"so the edge '{dead}' has no effect" in str(caught.value)


def test_an_answer_whose_gradient_is_constant_is_a_dead_edge_and_no_crash():
    case = nested(partial=False)
    losses = {**case.losses, "leaf": lambda leaf, middle, top: leaf().sum()}
    with pytest.raises(NumericError, match=r"so the edge '(top|middle) -> leaf' has no effect"):
        at_rest(bound(replace(case, losses=losses).graph("exact")), case.upper)


def test_an_answer_without_curvature_is_no_crash():
    """Its solution cannot be told, so nothing comes back through it but the least."""
    case = nested(partial=False)

    def flat(leaf: Any, middle: Any, top: Any) -> Tensor:
        return leaf().sum() * (middle().sum() + top().sum())

    losses = {**case.losses, "leaf": flat}
    found = at_rest(bound(replace(case, losses=losses).graph("exact")), case.upper)
    assert relative_error(found, case.points["top"]) < 1e-12


@pytest.mark.parametrize("case", [c for c in CASES if not c.partial], ids=lambda case: case.name)
def test_live_edges_are_live(case: Case):
    assert case.hypergradient("exact").isfinite().all()
