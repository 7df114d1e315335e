"""A running problem: evaluated twice alike, its derivatives those of dense algebra."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from cases import Point, bound, numbers
from torch import Tensor, nn
from torch.autograd import functional as dense

from mlograph import Graph, trees
from mlograph.errors import UsageError
from mlograph.problem import Problem, clipped, gradients
from mlograph.residual import Residual, filled
from mlograph.trees import Vector

EDGES = [{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}]
X, U = numbers(4, seed=1), numbers(3, seed=2)
COUPLING = numbers(4, 3, seed=3)


def curved(x: Tensor, u: Tensor) -> Tensor:
    return (x.pow(4).sum() + (x @ COUPLING @ u).sin() + (x * x.roll(1)).sum()) * u.exp().sum()


def made(loss: Any, module: nn.Module | None = None, **inner: Any) -> Problem:
    """The problem `inner`, with this loss, below a problem `outer` that it reads."""
    problem = {"optimizer": {"_target_": "sgd", "lr": 0.1}, "precision": "float64"}
    graph = Graph(
        problems={
            "outer": {"module": Point(U), "loss": lambda inner: inner.parameters()[0].sum()}
            | problem,
            "inner": problem | {"module": module or Point(X), "loss": loss, **inner},
        },
        edges=EDGES,
        engine={"device": "cpu"},
    )
    return bound(graph).problems["inner"]


def tangled(inner: Any, outer: Any) -> Tensor:
    return curved(inner(), outer())


def split(flat: Tensor) -> Vector:
    return {"head": flat[:1], "tail": flat[1:]}


NO_SCALAR = "expected a scalar tensor"


class TestResidual:
    def test_its_value_is_the_gradient(self):
        problem = made(tangled)
        residual = problem.residual(problem.next_moment())
        expected = dense.jacobian(lambda x: curved(x, U), X)
        assert torch.allclose(trees.flatten(residual.value), expected, rtol=1e-12)

    def test_hessian_products_are_those_of_the_dense_hessian(self):
        problem = made(tangled)
        residual = problem.residual(problem.next_moment())
        hessian = dense.hessian(lambda x: curved(x, U), X)
        for seed in range(3):
            v = numbers(4, seed=10 + seed)
            found = trees.flatten(residual.vjp(split(v)))
            assert torch.allclose(found, hessian @ v, rtol=1e-12)

    def test_cross_products_are_those_of_the_dense_derivative(self):
        problem = made(tangled)
        residual = problem.residual(problem.next_moment())
        cross = dense.hessian(curved, (X, U))[0][1]
        v = numbers(4, seed=10)
        found = trees.flatten(residual.cross(split(v), ["outer"])["outer"])
        assert torch.allclose(found, cross.T @ v, rtol=1e-12)

    def test_untouched_parameters_are_left_out(self):
        problem = made(lambda inner, outer: (inner.parameters()[1] * outer()).square().sum())
        residual = problem.residual(problem.next_moment())
        assert residual.value.keys() == residual.params.keys() == {"tail"}

    def test_a_linear_loss_has_a_zero_hessian_and_no_cross_derivative(self):
        problem = made(lambda inner, outer: inner().sum() + outer().sum())
        residual = problem.residual(problem.next_moment())
        v = split(numbers(4, seed=10))
        assert not trees.flatten(residual.vjp(v)).any()
        assert residual.cross(v, ["outer"]) == {"outer": {}}

    def test_a_parameter_in_a_linear_term_alone_has_a_zero_row(self):
        def loss(inner: Any, outer: Any) -> Tensor:
            head, tail = inner.parameters()
            return head.sum() + (tail * outer()).square().sum()

        problem = made(loss)
        found = problem.residual(problem.next_moment()).vjp(split(torch.ones(4).double()))
        assert found["head"].tolist() == [0.0]
        assert torch.allclose(found["tail"], 2 * U.square())


class Noisy(nn.Module):
    """Dropout and running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(numbers(50, seed=4))
        self.norm = nn.BatchNorm1d(1, affine=False)
        self.noise = nn.Dropout(0.5)

    def forward(self) -> Tensor:
        return self.norm(self.noise(self.weight)[:, None]).squeeze(1) + self.weight


def noisy_loss(inner: Any, outer: Any) -> Tensor:
    return inner().pow(3).sum() * outer().exp().sum()


class TestTheSameFunctionTwice:
    def test_a_residual_is_the_gradient_of_the_step_itself(self):
        problem = made(noisy_loss, Noisy())
        moment = problem.next_moment()
        live = problem.views({"inner": problem.model.live()})
        step = gradients(problem.evaluate(live, moment).loss, problem.model.params)
        torch.rand(5)  # The generator moves on, as other problems draw from it.
        for _ in range(2):
            residual = problem.residual(moment)
            assert torch.equal(residual.value["weight"], step["weight"])

    def test_another_step_draws_another_mask(self):
        problem = made(noisy_loss, Noisy())
        first = problem.residual(problem.next_moment()).value["weight"]
        torch.rand(5)
        second = problem.residual(problem.next_moment()).value["weight"]
        assert not torch.equal(first, second)

    def test_it_leaves_random_numbers_and_buffers_alone(self):
        problem = made(noisy_loss, Noisy())
        moment = problem.next_moment()
        torch.rand(5)
        state = torch.get_rng_state()
        before = {n: x.clone() for n, x in problem.model.module.state_dict().items()}
        residual = problem.residual(moment)
        residual.vjp(residual.params)
        assert torch.equal(torch.get_rng_state(), state)
        after = problem.model.module.state_dict()
        assert all(torch.equal(after[name], x) for name, x in before.items())

    def test_only_a_live_view_updates_buffers(self):
        problem = made(noisy_loss, Noisy())
        moment = problem.next_moment()
        problem.evaluate(problem.views(), moment)
        assert problem.model.module.norm.num_batches_tracked == 0
        problem.evaluate(problem.views({"inner": problem.model.live()}), moment)
        assert problem.model.module.norm.num_batches_tracked == 1

    def test_it_sees_the_batch_of_its_moment(self):
        batches = (torch.full((4,), 2.0), torch.full((4,), 3.0))

        def loss(inner: Any, outer: Any, batch: Tensor) -> Tensor:
            return (inner() * batch).sum() * outer().sum()

        problem = made(loss, data=batches)
        first, second = problem.next_moment(), problem.next_moment()
        values = [problem.residual(m).value["tail"][0] / U.sum() for m in (first, second, first)]
        assert [round(float(value.detach()), 9) for value in values] == [2.0, 3.0, 2.0]
        assert problem.moment is second


class TestEvaluate:
    def test_a_list_of_losses_is_their_sum_and_metrics_are_joined(self):
        def one(inner: Any) -> dict[str, Tensor]:
            return {"loss": inner().sum(), "first": inner().mean()}

        def two(inner: Any, outer: Any) -> dict[str, Tensor]:
            return {"loss": outer().sum(), "second": 2 * inner().mean()}

        problem = made([one, two])
        found = problem.evaluate(problem.views(), problem.next_moment())
        assert float(found.loss.detach()) == pytest.approx(float(X.sum() + U.sum()))
        assert found.metrics.keys() == {"first", "second"}
        assert not any(metric.requires_grad for metric in found.metrics.values())

    def test_terms_are_chosen_by_what_they_read(self):
        problem = made([lambda inner: inner().sum(), tangled])
        assert len(problem.terms_reading(["outer"])) == 1
        assert problem.terms_reading(["inner"]) == problem.terms
        assert problem.terms_reading([]) == ()

    def test_batches_have_the_problems_precision_and_steps_are_counted(self):
        seen = []

        def loss(inner: Any, outer: Any, batch: Any, step: int) -> Tensor:
            seen.append((batch[0].dtype, batch[1].dtype, step))
            return (inner() * batch[0]).sum() * outer().sum()

        problem = made(loss, data=((torch.ones(4), torch.ones(4, dtype=torch.long)),))
        problem.updates = 3
        problem.evaluate(problem.views(), problem.next_moment())
        assert seen == [(torch.float64, torch.int64, 3)]

    @pytest.mark.parametrize(
        ("value", "message"),
        [
            (lambda x: x, f"{NO_SCALAR}, got a tensor of shape (4,) (its mean or its sum is one)"),
            (lambda x: 1.0, f"{NO_SCALAR}, got a float (without .item() it is one)"),
            (lambda x: None, f"{NO_SCALAR}, got None (does the function end with a return?)"),
            (lambda x: [x.sum()], f"{NO_SCALAR}, got a list"),
            (lambda x: {"metric": x.sum()}, "the loss returned no 'loss'"),
            (
                lambda x: {"loss": x},
                f"{NO_SCALAR}, got a tensor of shape (4,) (its mean or its sum is one)",
            ),
        ],
    )
    def test_a_loss_is_a_scalar(self, value: Callable[[Tensor], Any], message: str):
        problem = made(lambda inner, outer: value(inner()))
        with pytest.raises(UsageError) as caught:
            problem.evaluate(problem.views(), problem.next_moment())
        assert str(caught.value) == f"problems.inner.loss: {message}"


class TestGradients:
    def test_what_the_loss_does_not_depend_on_is_left_out(self):
        params = {"a": torch.ones(2, requires_grad=True), "b": torch.ones(2, requires_grad=True)}
        assert gradients(params["a"].sum(), params).keys() == {"a"}
        assert gradients(torch.ones(()), params) == {}

    def test_filled_with_zeros(self):
        like = {"a": torch.ones(2), "b": torch.ones(3)}
        found = filled({"b": like["b"]}, like)
        assert found["b"] is like["b"]
        assert found["a"].tolist() == [0.0, 0.0]

    @pytest.mark.parametrize("largest", [0.1, 1.0, 1e3])
    def test_clipping_is_torchs_own(self, largest: float):
        params = [nn.Parameter(torch.zeros(3)), nn.Parameter(torch.zeros(2, 2))]
        vector = {"a": numbers(3, seed=1).float(), "b": numbers(2, 2, seed=2).float()}
        for param, x in zip(params, vector.values(), strict=True):
            param.grad = x.clone()
        nn.utils.clip_grad_norm_(params, largest)
        for param, x in zip(params, clipped(vector, largest).values(), strict=True):
            assert torch.allclose(param.grad, x)

    def test_clipping_is_differentiable_at_zero(self):
        zero = torch.zeros(3, requires_grad=True)
        (derivative,) = torch.autograd.grad(clipped({"a": zero}, 1.0)["a"].sum(), zero)
        assert derivative.tolist() == [1.0, 1.0, 1.0]

    def test_no_clipping_is_none(self):
        vector = {"a": torch.ones(3)}
        assert clipped(vector, None) is vector
        assert clipped({}, 1.0) == {}


def test_a_condition_that_is_rounded_has_products_of_zero():
    """Autograd gives zeros that depend on nothing for it, in either direction."""
    x = torch.ones(2, dtype=torch.float64, requires_grad=True)
    residual = Residual({"x": x.round()}, {"x": x}, {"other": {"x": x}})
    one = {"x": torch.ones(2, dtype=torch.float64)}
    assert residual.jvp(one)["x"].tolist() == residual.vjp(one)["x"].tolist() == [0.0, 0.0]
    assert not residual.reaches("other", ["x"])
