"""Vector-space operations on named tensors."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from cases import numbers

from mlograph import trees
from mlograph.trees import Vector


def vector(seed: int) -> Vector:
    return {"a": numbers(2, 3, seed=seed), "b": numbers(seed=seed + 1), "c": numbers(4, seed=seed)}


X, Y = vector(1), vector(5)
# The same vector, its names in another order.
Y_TURNED = {name: Y[name] for name in reversed(Y)}


@pytest.mark.parametrize("other", [Y, Y_TURNED], ids=["same order", "other order"])
@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (trees.add, lambda x, y: x + y),
        (lambda x, y: trees.axpy(0.5, x, y), lambda x, y: 0.5 * x + y),
        (trees.merge, lambda x, y: x + y),
    ],
    ids=["add", "axpy", "merge"],
)
def test_sums_go_by_name(operation: Callable[..., Vector], expected: Callable, other: Vector):
    found = operation(X, other)
    assert found.keys() == X.keys()
    for name, tensor in found.items():
        assert torch.allclose(tensor, expected(X[name], Y[name]))


def test_scale():
    assert all(torch.equal(x, -2 * X[name]) for name, x in trees.scale(-2.0, X).items())


@pytest.mark.parametrize("other", [Y, Y_TURNED], ids=["same order", "other order"])
def test_dot_goes_by_name(other: Vector):
    expected = sum(float((X[name] * Y[name]).sum()) for name in X)
    assert float(trees.dot(X, other)) == pytest.approx(expected, rel=1e-12)


def test_norm():
    assert float(trees.norm(X)) == pytest.approx(float(trees.flatten(X).norm()), rel=1e-12)
    assert float(trees.norm({})) == 0.0


@pytest.mark.parametrize("size", [0.0, 1e-310, 1e-200, 1e-20, 1.0, 1e20, 1e200, 1e305])
def test_a_length_whose_squares_overflow_or_vanish(size: float):
    assert trees.length(trees.scale(size, X)) == pytest.approx(size * trees.length(X), rel=1e-6)


@pytest.mark.parametrize("size", [1e-42, 1e-30, 1e30])
def test_a_length_in_single_precision(size: float):
    x = {"a": torch.tensor([3.0 * size, 4.0 * size])}
    assert trees.length(x) == pytest.approx(5.0 * size, rel=1e-2)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 1])
def test_a_length_that_is_not_finite_is_not_made_so(bad: float, place: int):
    x = {"a": torch.ones(2), "b": torch.ones(2)}
    x["ab"[place]][0] = bad
    assert not math.isfinite(trees.length(x))


def test_a_division_whose_inverse_overflows():
    x = {"a": torch.tensor([1e-310, 2e-310], dtype=torch.float64)}
    assert trees.over(1e-310, x)["a"].tolist() == pytest.approx([1.0, 2.0])
    assert trees.over(1.0, {}) == {}


def test_the_norm_of_zero_has_finite_derivatives():
    zero = {"a": torch.zeros(3, requires_grad=True)}
    (derivative,) = torch.autograd.grad(trees.norm(zero), zero["a"])
    assert derivative.tolist() == [0.0, 0.0, 0.0]


def test_no_tensors_make_an_empty_vector():
    assert trees.add({}, {}) == trees.axpy(2.0, {}, {}) == trees.scale(2.0, {}) == {}
    assert trees.merge({}, {}) == {}


def test_a_missing_name_is_a_zero_when_merging():
    left, right = {"a": X["a"], "b": X["b"]}, {"b": Y["b"], "c": Y["c"]}
    found = trees.merge(left, right)
    assert found.keys() == {"a", "b", "c"}
    assert found["a"] is X["a"]
    assert found["c"] is Y["c"]
    assert torch.equal(found["b"], X["b"] + Y["b"])
    assert left.keys() == {"a", "b"}


@pytest.mark.parametrize("other", [{"a": X["a"]}, {**X, "d": X["a"]}])
def test_vectors_of_different_spaces_do_not_meet(other: Vector):
    for operation in (trees.add, trees.dot):
        with pytest.raises(AssertionError, match="different spaces"):
            operation(X, other)


def test_zeros_like():
    found = trees.zeros_like(X)
    assert {name: x.shape for name, x in found.items()} == {n: x.shape for n, x in X.items()}
    assert not any(x.any() for x in found.values())


def test_flatten_and_back():
    flat = trees.flatten(X)
    assert flat.shape == (11,)
    back = trees.unflatten(flat, X)
    assert back.keys() == X.keys()
    assert all(torch.equal(back[name], X[name]) for name in X)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_tensor_that_is_not_finite_is_named(bad: float):
    spoiled = {**X, "c": X["c"].clone()}
    spoiled["c"][2] = bad
    assert trees.first_non_finite(spoiled) == "c"


def test_large_finite_numbers_are_finite():
    large = {"a": torch.full((5,), 1e38), "b": torch.full((5,), 1e38)}
    assert not torch.isfinite(trees.norm(large))
    assert trees.first_non_finite(large) is None
    assert trees.first_non_finite(X) is None
    assert trees.first_non_finite({}) is None
