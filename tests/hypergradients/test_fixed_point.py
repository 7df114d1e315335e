"""Fixed-point iterations of the optimiser's own step map."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import (
    CASES,
    RATE,
    Case,
    Point,
    after_loops,
    backward,
    bound,
    inverse,
    numbers,
    parameters,
    quadratic,
    relative_error,
    series,
)
from torch import Tensor, nn

from mlograph import Graph
from mlograph.executor import Executor
from mlograph.plan import Step
from mlograph.program import Program
from mlograph.recording import Link
from mlograph.trees import Vector

flat_cases = pytest.mark.parametrize(
    "case", [case for case in CASES if not case.nested], ids=lambda case: case.name
)


def method(iterations: int = 10, **options: Any) -> dict[str, Any]:
    return {"method": "fixed_point", "iterations": iterations, **options}


@pytest.mark.parametrize("iterations", [1, 2, 5])
@flat_cases
def test_k_iterations_are_k_plus_one_terms(case: Case, iterations: int):
    found = case.hypergradient(method(iterations))
    expected = case.closed_form(series(RATE, iterations + 1))
    assert relative_error(found, expected) < 1e-10


@flat_cases
def test_it_converges_to_the_implicit_function_theorem(case: Case):
    found = case.hypergradient(method(2000))
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


def test_at_a_solution_it_is_that_many_more_unrolled_steps():
    case = quadratic()
    unrolled = after_loops(bound(case.graph("unroll", unroll_steps=6)), "outer")
    assert relative_error(case.hypergradient(method(5)), unrolled) < 1e-12


def with_options(case: Case, options: dict[str, float], **changes: Any) -> Program:
    """The case with its inner optimiser's groups edited, its loop about to begin."""
    program = bound(case.graph(method(**changes), unroll_steps=2))
    program.problems["inner"].optimizer.param_groups[0].update(options)
    return program


@pytest.mark.parametrize("iterations", [1, 4, 400])
def test_momentum_is_a_part_of_the_map(iterations: int):
    """(θ, b) ↦ (θ − η b', b') with b' = μ b + g and Φ_u = (η, −1) ⊗ −∂g/∂u."""
    mu = 0.6

    def solve(H: Tensor, v: Tensor) -> Tensor:
        eye, size = torch.eye(len(v), dtype=v.dtype), len(v)
        top = torch.cat([eye - RATE * H, -RATE * mu * eye], dim=1)
        step = torch.cat([top, torch.cat([H, mu * eye], dim=1)])
        w = pushed = torch.cat([v, torch.zeros_like(v)])
        for _ in range(iterations):
            w = step.T @ w + pushed
        return RATE * w[:size] - w[size:]

    program = with_options(quadratic(), {"momentum": mu}, iterations=iterations, tol=0.0)
    found = after_loops(program, "outer")
    assert relative_error(found, quadratic().closed_form(solve)) < 1e-10
    if iterations == 400:
        assert relative_error(found, quadratic().closed_form(inverse)) < 1e-8


def test_the_learning_rate_is_the_present_one():
    found = after_loops(with_options(quadratic(), {"lr": 0.1}, iterations=3), "outer")
    assert relative_error(found, quadratic().closed_form(series(0.1, 4))) < 1e-10


def test_weight_decay_is_a_part_of_the_map():
    program = with_options(quadratic(), {"weight_decay": 0.5, "lr": 0.0}, iterations=2)
    executor = Executor(program)
    for instruction in program.plan.period[:-1]:
        executor.execute(instruction)
    program.problems["inner"].optimizer.param_groups[0]["lr"] = RATE
    found = backward(executor, program, "outer")

    def solve(H: Tensor, v: Tensor) -> Tensor:
        return series(RATE, 3)(H + 0.5 * torch.eye(len(v), dtype=v.dtype), v)

    assert relative_error(found, quadratic().closed_form(solve)) < 1e-10


@pytest.mark.parametrize("iterations", [1, 3])
def test_k_iterations_are_k_vector_jacobian_products(
    iterations: int, monkeypatch: pytest.MonkeyPatch
):
    taken: list[tuple[str, ...]] = []
    product = Link.vjp

    def counted(self: Link, adjoint: Vector, targets: tuple[str, ...], *, keep: bool) -> Any:
        taken.append(targets)
        return product(self, adjoint, targets, keep=keep)

    monkeypatch.setattr(Link, "vjp", counted)
    quadratic().hypergradient(method(iterations))
    assert taken == [()] * iterations + [("outer",)]


def solved(program: Program, passes: int = 1) -> dict[str, float]:
    """What the inner problem measured in the last of some passes."""
    program.problems["inner"].next_moment()
    executor = Executor(program)
    for _ in range(passes):
        executor.meters["inner"].flush()
        backward(executor, program, "outer")
    return executor.meters["inner"].flush()


def test_it_stops_where_the_tolerance_is_met():
    program = bound(quadratic().graph(method(500, tol=1e-3)))
    values = solved(program)
    assert values["solves_converged"] == 1
    assert values["residual"] <= 1e-3
    assert values["products"] < 500


class Spare(nn.Module):
    """A point, and a parameter that the problem's own loss never looks at."""

    def __init__(self) -> None:
        super().__init__()
        self.point = Point(numbers(3, seed=1))
        self.spare = nn.Parameter(torch.ones(2))

    def forward(self) -> Tensor:
        return self.point()


def test_what_a_step_leaves_where_it_is_has_no_part_in_it():
    """Else it would go on growing, and the iterations would never converge."""

    def fit(inner: Any, outer: Any) -> Tensor:
        return (inner() - outer()).square().sum()

    def judge(inner: Any) -> Tensor:
        return torch.stack([x.square().sum() for x in inner.parameters()]).sum()

    problem = {"precision": "float64", "optimizer": {"_target_": "sgd", "lr": 0.25}}
    outer = {"module": Point(numbers(3, seed=2)), "loss": judge, **problem}
    inner = {"module": Spare(), "loss": fit, "hypergradient": method(50), **problem}
    graph = Graph(
        problems={"outer": outer, "inner": inner},
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )
    assert solved(bound(graph))["solves_converged"] == 1


def test_a_warm_start_goes_on_where_the_last_one_ended():
    case = quadratic()
    cold, warm = (bound(case.graph(method(3, warm_start=warm))) for warm in (False, True))
    first, second = solved(cold, passes=3)["residual"], solved(warm, passes=3)["residual"]
    assert second < 0.8 * first


def test_iterations_that_diverge_are_told():
    program = with_options(quadratic(), {"lr": 1.0})
    program.problems["inner"].next_moment()
    executor = Executor(program)
    backward(executor, program, "outer")
    (remark,) = executor.remarks
    assert remark.startswith("the linear system of 'inner' diverged")
    assert executor.meters["inner"].flush()["solves_diverged"] == 1


def test_the_virtual_step_is_not_taken():
    program = with_options(quadratic(), {"momentum": 0.5}, iterations=3)
    executor = Executor(program)
    with torch.no_grad():
        program.problems["inner"].model.params["tail"].add_(1.0)
    for instruction in program.plan.period:
        if instruction == Step("outer"):
            break
        executor.execute(instruction)
    inner = program.problems["inner"]
    before = parameters(program, "inner")
    buffers = [x["momentum_buffer"].clone() for x in inner.optimizer.state.values()]
    backward(executor, program, "outer")
    assert torch.equal(parameters(program, "inner"), before)
    after = [x["momentum_buffer"] for x in inner.optimizer.state.values()]
    assert all(map(torch.equal, buffers, after))


def test_clipping_is_a_part_of_the_map():
    """Far from the solution, g/‖g‖·c has the Jacobian c/‖g‖·(I − ĝĝᵀ)H, at 1e-6 in the norm."""
    case, limit = quadratic(), 0.01
    point = case.points["inner"] + numbers(4, seed=9)
    moved = replace(case, points={**case.points, "inner": point})
    program = bound(moved.graph(method(2)))
    inner = program.problems["inner"]
    inner.spec = inner.spec.model_copy(update={"gradient_clipping": limit})
    inner.next_moment()
    found = backward(Executor(program), program, "outer")
    # The direct terms are those of the moved point, and the same for every inverse.
    H = torch.autograd.functional.hessian(lambda x: inner_loss(program, x), point)
    g = torch.autograd.functional.jacobian(lambda x: inner_loss(program, x), point)
    size = g.norm() + 1e-6
    turned = limit * (torch.eye(4).double() - torch.outer(g, g) / (g.norm() * size)) / size
    v = outer_slope(program, point)
    step = torch.eye(4).double() - RATE * turned @ H
    w = sum((torch.linalg.matrix_power(step.T, k) @ v for k in range(3)), torch.zeros(4).double())
    indirect = numbers(4, 3, seed=2).T @ (RATE * turned.T @ w)
    direct = 0.7 * case.points["outer"] + numbers(3, 4, seed=4) @ point
    assert relative_error(found, direct + indirect) < 1e-8


def inner_loss(program: Program, x: Tensor) -> Tensor:
    inner = program.problems["inner"]
    view = inner.model.at({"head": x[:1], "tail": x[1:]})
    assert inner.moment is not None
    return inner.evaluate(inner.views({"inner": view}), inner.moment).loss


def outer_slope(program: Program, point: Tensor) -> Tensor:
    outer = program.problems["outer"]

    def loss(x: Tensor) -> Tensor:
        view = outer.others["inner"].at({"head": x[:1], "tail": x[1:]})
        return outer.evaluate(outer.views({"inner": view}), outer.next_moment()).loss

    return torch.autograd.functional.jacobian(loss, point)
