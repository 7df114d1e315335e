"""Solvers for several tasks give each task what the solver for one gives."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from cases import numbers, positive
from torch import Tensor

from mlograph import linear, trees
from mlograph.linear import MatVec, Solution, Status
from mlograph.tasks import solvers
from mlograph.tasks.refusal import NotAtOnceError
from mlograph.trees import Vector

SIZE = 5
SHAPES = {"matrix": (2, 2), "scalar": ()}


def vector(flat: Tensor) -> Vector:
    """Numbers (…, 5) as two parameters, one of them without an axis of its own."""
    front = flat.shape[:-1]
    return {"matrix": flat[..., :4].reshape(*front, 2, 2), "scalar": flat[..., 4]}


def flat(found: Vector) -> Tensor:
    front = found["scalar"].shape
    return torch.cat([found["matrix"].reshape(*front, 4), found["scalar"][..., None]], dim=-1)


def product(matrices: Tensor) -> MatVec:
    """x ↦ A x, of one task or of all of them."""
    return lambda x: vector((matrices @ flat(x)[..., None])[..., 0])


ALL: dict[str, tuple[Callable[..., Solution], Callable[..., Any], dict[str, Any]]] = {
    "cg": (linear.cg, solvers.cg, {"iterations": 3, "tol": 1e-10}),
    "cg to its end": (linear.cg, solvers.cg, {"iterations": 20, "tol": 1e-6}),
    "neumann": (linear.neumann, solvers.neumann, {"iterations": 7, "alpha": 0.1, "tol": 0.0}),
    "neumann auto": (
        linear.neumann,
        solvers.neumann,
        {"iterations": 7, "alpha": "auto", "tol": 0.0},
    ),
    "neumann to its end": (
        linear.neumann,
        solvers.neumann,
        {"iterations": 200, "alpha": 0.15, "tol": 1e-4},
    ),
    "dense": (linear.dense, solvers.dense, {}),
}

CASES: dict[str, Tensor] = {
    "positive": torch.stack([positive(SIZE, seed) for seed in range(4)]),
    "with a multiple of one": torch.stack([torch.eye(SIZE).double() * 3, positive(SIZE, 5)]),
    "indefinite": torch.stack(
        [positive(SIZE, 1), positive(SIZE, 2) - 3 * torch.eye(SIZE).double()]
    ),
    "singular": torch.stack([positive(SIZE, 1), torch.zeros(SIZE, SIZE).double()]),
}


def compare(one: Sequence[Solution], other: Sequence[Solution]) -> None:
    for left, right in zip(one, other, strict=True):
        assert left.status is right.status
        assert left.iterations == right.iterations
        assert right.residual == pytest.approx(left.residual, rel=1e-9, abs=1e-12)
        assert torch.allclose(flat(left.value), flat(right.value), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", ALL)
def test_each_task_has_its_own_answer(name: str, case: str):
    alone, together, options = ALL[name]
    matrices = CASES[case]
    b = numbers(len(matrices), SIZE, seed=9)
    b[-1] *= 1e6
    found = together(product(matrices), vector(b), **options).each()
    compare(
        [alone(product(A), vector(x), **options) for A, x in zip(matrices, b, strict=True)], found
    )


@pytest.mark.parametrize("name", ALL)
def test_a_task_with_nothing_to_solve_gets_zero(name: str):
    _, together, options = ALL[name]
    b = numbers(2, SIZE, seed=9) * torch.tensor([[0.0], [1.0]])
    found = together(product(CASES["positive"][:2]), vector(b), **options).each()
    assert not flat(found[0].value).any()
    assert (found[0].status, found[0].iterations, found[0].residual) == (Status.CONVERGED, 0, 0.0)


def test_a_task_that_has_converged_is_not_disturbed():
    """One of two needs a single product; what comes after does not move it by a bit."""
    matrices = CASES["with a multiple of one"]
    b = vector(numbers(2, SIZE, seed=3))
    short, long = (solvers.cg(product(matrices), b, iterations=k, tol=1e-12) for k in (1, 5))
    assert short.statuses[0] is long.statuses[0] is Status.CONVERGED
    assert torch.equal(flat(short.value)[0], flat(long.value)[0])
    assert not torch.equal(flat(short.value)[1], flat(long.value)[1])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("where", ["b", "A"])
def test_numbers_that_are_not_finite_are_left_to_one_task_at_a_time(name: str, where: str):
    _, together, options = ALL[name]
    matrices, b = CASES["positive"][:2].clone(), numbers(2, SIZE, seed=9)
    (b if where == "b" else matrices)[1, 2] = float("nan")
    with pytest.raises(NotAtOnceError) as caught:
        together(product(matrices), vector(b), **options)
    assert not caught.value.lasting


def test_inner_products_are_those_of_each_task():
    left, right = numbers(3, SIZE, seed=1), numbers(3, SIZE, seed=2)
    assert torch.allclose(trees.dot_each(vector(left), vector(right)), (left * right).sum(1))
    assert torch.allclose(trees.norm_each(vector(left)), left.norm(dim=1))
    factors = torch.tensor([1.0, -2.0, 0.0]).double()
    found = flat(trees.axpy_each(factors, vector(left), vector(right)))
    assert torch.allclose(found, factors[:, None] * left + right)
