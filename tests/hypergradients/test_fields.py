"""Problems that descend a field instead of a gradient: games and fixed points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from cases import (
    GENERAL,
    RATE,
    Case,
    Point,
    after_loops,
    at_rest,
    bound,
    chain,
    fixed_point,
    game,
    inverse,
    nested,
    numbers,
    parameters,
    quadratic,
    relative_error,
)
from torch import Tensor

from mlograph import Graph
from mlograph.errors import NumericError, UsageError
from mlograph.executor import Executor
from mlograph.plan import Backward, Start, Step
from mlograph.problem import own_gradient

each_case = pytest.mark.parametrize("case", GENERAL, ids=lambda case: case.name)

EXACT: list[dict[str, Any]] = [
    {"method": "exact"},
    {"method": "gmres", "iterations": 4},
    {"method": "gmres", "iterations": 200, "restart": 2},
    {"method": "bicgstab", "iterations": 20},
    {"method": "normal_cg", "iterations": 8},
    {"method": "neumann", "iterations": 300},
    {"method": "neumann", "iterations": 300, "alpha": 0.3},
    {"method": "soba", "steps": 300, "rate": 0.3},
    {"method": "fixed_point", "iterations": 1000},
]


@each_case
@pytest.mark.parametrize("method", EXACT, ids=lambda method: method["method"])
def test_a_method_that_needs_no_symmetry_is_right(case: Case, method: dict[str, Any]):
    assert relative_error(case.hypergradient(method), case.closed_form(inverse)) < 1e-8


@pytest.mark.parametrize("method", ["unroll", "forward"])
@pytest.mark.parametrize(("case", "steps"), [(fixed_point(), 1200), (game(), 400)], ids=["f", "g"])
def test_a_long_loop_comes_to_the_same(case: Case, steps: int, method: str):
    found = after_loops(bound(case.graph(method, unroll_steps=steps)), case.upper)
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


@each_case
def test_a_hypergradient_is_the_derivative_of_what_the_upper_loss_becomes(case: Case):
    lower = next(name for name in case.points if name != case.upper)

    def judged(u: Tensor) -> float:
        moved = replace(case, points={**case.points, case.upper: u})
        program = bound(moved.graph("exact"))
        problem = program.problems[lower]
        for _ in range(3000):
            problem.optimizer.zero_grad()
            moment = problem.next_moment()
            field = own_gradient(problem.evaluate(problem.views(), moment), problem.model.params)
            for name, param in problem.model.params.items():
                param.grad = field[name]
            problem.optimizer.step()
        upper = program.problems[case.upper]
        return float(upper.evaluate(upper.views(), upper.next_moment()).loss.detach())

    u, way = case.points[case.upper], numbers(3, seed=9)
    slope = (judged(u + 1e-4 * way) - judged(u - 1e-4 * way)) / 2e-4
    assert float(case.hypergradient("gmres") @ way) == pytest.approx(slope, rel=1e-6)


@each_case
@pytest.mark.parametrize("method", ["cg", {"method": "nystrom", "rank": 4}], ids=["cg", "nystrom"])
def test_a_method_that_needs_symmetry_is_wrong_and_its_user_is_told_once(case: Case, method: Any):
    program = bound(case.graph(method))
    executor = Executor(program)
    for instruction in (*program.plan.period, *program.plan.period):
        executor.execute(instruction)
    lower = next(name for name in case.points if name != case.upper)
    told = [remark for remark in executor.remarks if "symmetric" in remark]
    name = program.problems[lower].spec.hypergradient.method
    assert told == [
        f"the loss of '{lower}' gives a 'field', whose Jacobian '{name}' takes for symmetric "
        "(gmres, bicgstab and normal_cg do not)"
    ]
    assert relative_error(at_rest(program, case.upper), case.closed_form(inverse)) > 1e-3
    assert executor.meters[lower].flush()["residual"] > 1e-3


def test_nobody_is_told_where_no_hypergradient_goes_through_the_field():
    def turn(players: Any) -> Any:
        x, y = players.parameters()
        return {"loss": (x * y).sum(), "field": {"head": y, "tail": -x}}

    players = {"module": Point(torch.ones(2)), "loss": turn, "optimizer": "sgd"}
    executor = Executor(
        bound(Graph(problems={"players": {**players, "hypergradient": "cg"}}, edges=[]))
    )
    executor.execute(Step("players"))
    assert executor.remarks == []


@pytest.mark.parametrize("method", ["darts", "sama", "penalty"])
def test_a_method_that_differentiates_the_loss_itself_is_refused(method: str):
    with pytest.raises(UsageError) as caught:
        game().hypergradient(method)
    assert str(caught.value) == (
        f"problems.players.hypergradient: '{method}' differentiates a scalar loss, but the loss of "
        "'players' gives a 'field' in place of its gradient "
        "(use gmres or another method that solves a linear system, or unroll)"
    )


U = 0.5


def turning(method: str, **inner: Any) -> Graph:
    """The field (y + u, −x), which turns about (0, −u) and is the gradient of nothing."""

    def turn(inner: Any, outer: Any) -> Any:
        x, y = inner.parameters()
        return {"loss": (x * y).sum(), "field": {"head": y + outer()[:1], "tail": -x}}

    problem = {
        "optimizer": {"_target_": torch.optim.SGD, "lr": RATE},
        "precision": "float64",
        "hypergradient": method,
    }
    start = torch.tensor([1.0, 2.0])
    return Graph(
        problems={
            "outer": {"module": Point(U * torch.ones(2)), "loss": lambda inner: inner().sum()}
            | problem,
            "inner": {"module": Point(start), "loss": turn, "unroll_steps": 5, **problem, **inner},
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )


def field_at(z: Tensor) -> Tensor:
    return torch.stack([z[1] + U, -z[0]])


@pytest.mark.parametrize("method", ["exact", "unroll"])
class TestItsOwnStep:
    """What the optimiser makes of a gradient, it makes of the field; recorded or not."""

    def came_to(self, method: str, **inner: Any) -> Tensor:
        program = bound(turning(method, **inner))
        after_loops(program, "outer")
        return parameters(program, "inner")

    @pytest.mark.parametrize("momentum", [0.0, 0.5])
    def test_it_descends_the_field(self, method: str, momentum: float):
        z, velocity = torch.tensor([1.0, 2.0]).double(), torch.zeros(2).double()
        for _ in range(5):
            velocity = momentum * velocity + field_at(z)
            z = z - RATE * velocity
        sgd = {"_target_": torch.optim.SGD, "lr": RATE, "momentum": momentum}
        assert torch.allclose(self.came_to(method, optimizer=sgd), z, rtol=1e-12)

    def test_it_is_clipped_like_a_gradient(self, method: str):
        z = torch.tensor([1.0, 2.0]).double()
        for _ in range(5):
            z = z - RATE * 0.5 * field_at(z) / field_at(z).norm()
        assert torch.allclose(self.came_to(method, gradient_clipping=0.5), z, rtol=1e-6)

    def test_a_gradient_carries_no_graph(self, method: str):
        program = bound(turning(method))
        Executor(program).execute(Backward("inner"))
        assert not any(
            p.grad.requires_grad for p in program.problems["inner"].model.params.values()
        )

    def test_passes_are_averaged(self, method: str):
        once, twice = (self.came_to(method, gradient_accumulation=n) for n in (1, 2))
        assert torch.allclose(once, twice, rtol=1e-12)

    def test_what_is_not_finite_never_reaches_a_parameter(self, method: str):
        def broken(inner: Any, outer: Any) -> Any:
            x, y = inner.parameters()
            return {"loss": x.sum(), "field": {"head": y / 0.0 + outer()[:1], "tail": -x}}

        executor = Executor(bound(turning(method, loss=broken)))
        executor.execute(Start("inner"))
        with pytest.raises(NumericError, match="the gradient of 'head' is not finite"):
            executor.execute(Step("inner"))


def as_field(loss: Callable[..., Tensor], own: str) -> Callable[..., Any]:
    """The gradient of a loss, given as a field."""

    def given(**views: Any) -> Any:
        value = loss(**views)
        params = dict(views[own].named_parameters())
        found = torch.autograd.grad(value, [*params.values()], create_graph=True)
        return {"loss": value, "field": dict(zip(params, found, strict=True))}

    return given


def with_fields(case: Case, *names: str) -> Case:
    """The same case, some problems giving a field that is their gradient."""
    arguments = {
        name: [edge.split()[1] for edge in case.edges if edge.endswith(f" {name}")]
        for name in names
    }
    losses = {name: _named(case.losses[name], name, arguments[name]) for name in names}
    return replace(case, losses={**case.losses, **losses})


def _named(loss: Callable[..., Tensor], own: str, others: list[str]) -> dict[str, Any]:
    def given(own_view: Any, **others: Any) -> Any:
        return as_field(loss, own)(**{own: own_view, **others})

    return {"_target_": given, "own_view": own, **{name: name for name in others}}


@pytest.mark.parametrize("method", ["exact", "cg", "neumann", "gmres", "unroll"])
@pytest.mark.parametrize(
    ("case", "names"),
    [(quadratic(), ["inner"]), (chain(), ["middle"]), (chain(), ["leaf", "middle"])],
    ids=["quadratic", "chain, middle", "chain, both"],
)
def test_a_gradient_may_be_given_as_a_field(method: str, case: Case, names: list[str]):
    options = {"method": method} | ({"iterations": 300} if method == "neumann" else {})
    found = at_rest if method != "unroll" else after_loops
    plain = found(bound(case.graph(options, unroll_steps=3)), case.upper)
    given = found(bound(with_fields(case, *names).graph(options, unroll_steps=3)), case.upper)
    assert relative_error(given, plain) < 1e-12


@pytest.mark.parametrize("method", ["exact", "gmres"])
@pytest.mark.parametrize("partial", [False, True])
def test_a_problem_with_a_field_answers_to_a_nested_one(method: str, partial: bool):
    case = nested(partial=partial)
    found = with_fields(case, "leaf").hypergradient({"method": method})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


def test_an_unsymmetric_field_answers_to_a_nested_problem():
    """The nested case with J in place of the leaf's A: its answers are J⁻¹, its adjoints J⁻ᵀ."""
    J = torch.eye(4, dtype=torch.float64) + 0.3 * numbers(4, 4, seed=1)
    B, G, E = numbers(4, 3, seed=2), 0.3 * numbers(4, 5, seed=9), numbers(5, 4, seed=4)
    C, t, u = 3 * torch.eye(5, dtype=torch.float64), numbers(5, seed=5), numbers(3, seed=6)
    bend = 0.4 * numbers(5, seed=7)
    H = C - E @ inverse(J, G) - inverse(J, G).T @ E.T + torch.diag(bend)
    y = inverse(H, E @ inverse(J, B @ u))
    x = inverse(J, B @ u + G @ y)

    def leaf_loss(leaf: Any, middle: Any, top: Any) -> Any:
        way = J @ leaf() - B @ top() - G @ middle()
        return {"loss": way.square().sum(), "field": {"head": way[:1], "tail": way[1:]}}

    def middle_loss(middle: Any, leaf: Any) -> Tensor:
        own = 0.5 * middle() @ (C + torch.diag(bend)) @ middle()
        return own - middle() @ E @ leaf()

    case = replace(
        nested(partial=False),
        points={"top": u, "middle": y, "leaf": x},
        losses={
            "leaf": leaf_loss,
            "middle": middle_loss,
            "top": lambda middle, top: 0.5 * (middle() - t).square().sum() + top().sum(),
        },
    )
    expected = torch.ones(3, dtype=torch.float64) + B.T @ inverse(J.T, E.T @ inverse(H, y - t))
    for method in ({"method": "exact"}, {"method": "gmres", "iterations": 5}):
        assert relative_error(case.hypergradient(method), expected) < 1e-8


class TestSeveralTerms:
    """A term with a field adds it, one without adds its gradient."""

    PULL = numbers(4, seed=9)

    def penalty(self, inner: Any) -> Tensor:
        return 0.5 * (inner() - self.PULL).square().sum()

    @pytest.mark.parametrize("method", ["exact", "gmres"])
    def test_a_field_and_a_gradient_add_up(self, method: str):
        case = fixed_point()
        both = replace(case, losses={**case.losses, "inner": [case.losses["inner"], self.penalty]})
        inner = bound(both.graph(method)).problems["inner"]
        evaluation = inner.evaluate(inner.views(), inner.next_moment())
        found = own_gradient(evaluation, inner.model.params)
        # The field vanishes where the case rests, and the penalty adds I to its Jacobian.
        expected = case.points["inner"] - self.PULL
        assert torch.allclose(torch.cat([found["head"], found["tail"]]), expected, atol=1e-12)
        damped = case.hypergradient({"method": method, "damping": 1.0})
        assert relative_error(both.hypergradient(method), damped) < 1e-9

    def test_two_fields_add_up(self):
        case = fixed_point()
        losses = {**case.losses, "inner": [case.losses["inner"], case.losses["inner"]]}
        twice = replace(case, losses=losses)
        assert relative_error(twice.hypergradient("exact"), case.closed_form(inverse)) < 1e-12
        inner = bound(twice.graph()).problems["inner"]
        moment = inner.next_moment()
        one, two = (inner.evaluate(inner.views(), moment, t) for t in (inner.terms[:1], None))
        assert one.field is not None
        assert two.field is not None
        assert all(torch.equal(two.field[name], 2 * x) for name, x in one.field.items())

    def test_differences_of_a_loss_see_the_terms_that_read_an_upper_problem(self):
        """Where only a scalar term reads it, its cross-derivative is all that there is."""
        case = fixed_point()

        def own(inner: Any) -> Any:
            return {"loss": inner().sum(), "field": dict(inner.named_parameters())}

        def coupling(inner: Any, outer: Any) -> Tensor:
            return inner()[:3] @ outer()

        losses = {**case.losses, "inner": [own, coupling]}
        mixed = replace(case, losses=losses)
        found = mixed.hypergradient({"method": "darts", "scale": "one"})
        assert relative_error(found, mixed.hypergradient("exact")) < 1e-8


class TestWhatDoesNotGoTogether:
    def test_nothing_can_answer_to_a_field(self):
        case = with_fields(nested(partial=False), "middle")
        message = (
            "problems.middle.loss: a 'field' cannot take into account how 'leaf' answers to "
            "'middle': give a loss alone, or let no problem below 'middle' depend on it"
        )
        program = bound(case.graph("exact"))
        executor = Executor(program)
        executor.execute(Step("leaf"))
        with pytest.raises(UsageError) as caught:
            executor.execute(Backward("middle"))
        assert str(caught.value) == message
        with pytest.raises(UsageError) as caught:
            case.hypergradient("exact")
        assert str(caught.value) == message

    def test_nor_at_the_top(self):
        case = with_fields(quadratic(), "outer")
        with pytest.raises(UsageError, match="how 'inner' answers to 'outer'"):
            case.hypergradient("exact")

    def test_a_dead_edge_into_a_field_that_answers_to_a_nested_problem_is_named(self):
        case = nested(partial=False)

        def deaf(leaf: Any, middle: Any, top: Any) -> Any:
            field = {"head": leaf()[:1], "tail": leaf()[1:] - middle()[:3] - 0 * top().detach()[0]}
            return {"loss": leaf().sum(), "field": field}

        silent = replace(case, losses={**case.losses, "leaf": deaf})
        with pytest.raises(NumericError, match="the edge 'top -> leaf' has no effect"):
            silent.hypergradient("exact")

    def test_a_field_without_a_graph_is_an_error_that_names_the_edge(self):
        case = game()

        def cut(players: Any, rules: Any) -> Any:
            given = case.losses["players"](players, rules)
            return {**given, "field": {n: x.detach() for n, x in given["field"].items()}}

        silent = replace(case, losses={**case.losses, "players": cut})
        with pytest.raises(NumericError, match="the edge 'rules -> players' has no effect"):
            silent.hypergradient("gmres")


def test_rules_are_learned_for_a_game_that_is_played_as_they_change():
    """The designer's loss falls to the least that it can have over all equilibria."""
    case = game()
    # h(u) = 0.7u − crossᵀ J⁻ᵀ (z − t) with z = −J⁻¹ cross u is affine in u: three values give it.
    rows, at_zero = [], moved_rules(case, torch.zeros(3, dtype=torch.float64))
    for unit in torch.eye(3, dtype=torch.float64):
        rows.append(moved_rules(case, unit) - at_zero)
    best = torch.linalg.solve(torch.stack(rows, dim=1), -at_zero)
    graph = case.graph({"method": "soba", "rate": 0.2}, unroll_steps=1)
    program = bound(graph)
    executor = Executor(program)
    for _ in range(1500):
        for instruction in program.plan.period:
            executor.execute(instruction)
    assert relative_error(parameters(program, "rules"), best) < 1e-6


def moved_rules(case: Case, u: Tensor) -> Tensor:
    """The hypergradient at other rules, the players being where they then rest."""
    program = bound(case.graph("exact"))
    rules, players = program.problems["rules"], program.problems["players"]
    with torch.no_grad():
        for param, x in zip(rules.model.params.values(), (u[:1], u[1:]), strict=True):
            param.copy_(x)
    residual = players.residual(players.next_moment())
    field = torch.cat([*residual.value.values()]).detach()
    J = torch.stack(
        [
            torch.cat([*residual.jvp({"head": e[:1], "tail": e[1:]}).values()])
            for e in torch.eye(4, dtype=torch.float64)
        ],
        dim=1,
    )
    step = inverse(J, field)
    with torch.no_grad():
        for param, x in zip(players.model.params.values(), (step[:1], step[1:]), strict=True):
            param.sub_(x)
    return at_rest(program, "rules")
