"""What tells one compiled region of a problem from another."""

from __future__ import annotations

import torch
from builders import bound
from compiled_graphs import alone

from mlograph.compiling.names import Names, are_alike
from mlograph.compiling.region import Derivative
from mlograph.problem import Moment, Problem
from mlograph.randomness import RandomState


def lower() -> Problem:
    return bound(alone()).problems["lower"]


def asked(problem: Problem, rows: int = 8) -> Derivative:
    batch = torch.ones(rows, 4), torch.zeros(rows, dtype=torch.long)
    moment = Moment(batch, 0, RandomState.capture(torch.device("cpu")))
    return Derivative(problem, problem.terms, {"lower": tuple(problem.model.params)}, moment)


def test_the_same_derivative_has_the_same_name_wherever_it_is_built():
    one, other = lower(), lower()
    assert Names(one).name("gradient", asked(one)) == Names(other).name("gradient", asked(other))


def test_shapes_and_modes_tell_regions_apart_that_are_alike():
    problem = lower()
    names = Names(problem)
    name = names.name("gradient", asked(problem))
    smaller = names.name("gradient", asked(problem, rows=7))
    problem.model.module.eval()
    evaluated = names.name("gradient", asked(problem))
    assert len({name, smaller, evaluated}) == 3
    assert are_alike(name, smaller) and are_alike(name, evaluated)


def test_another_kind_is_not_alike():
    problem = lower()
    names = Names(problem)
    both = [names.name(kind, asked(problem)) for kind in ("gradient", "products")]
    assert not are_alike(*both)
