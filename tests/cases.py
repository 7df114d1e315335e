"""Graphs whose hypergradients are known in closed form, in float64.

The lower problems of a `Case` rest at their solutions, so that one number tells a method apart:
what it takes for H⁻¹v. `Case.closed_form` gives the hypergradient for any such inverse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mlograph import Graph
from mlograph.bind import bind
from mlograph.components import Imports
from mlograph.executor import Executor
from mlograph.language.methods import METHODS
from mlograph.plan import Backward, Step
from mlograph.program import Program

# What stands for H⁻¹ v, as a function of the dense H and of v.
Inverse = Callable[[Tensor, Tensor], Tensor]

RATE = 0.05


class Point(nn.Module):
    """A vector kept in two parameters, so that no test can mistake one tensor for the whole."""

    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.head = nn.Parameter(value[:1].clone())
        self.tail = nn.Parameter(value[1:].clone())

    def forward(self) -> Tensor:
        return torch.cat([self.head, self.tail])


def numbers(*shape: int, seed: int) -> Tensor:
    """Normal random numbers in float64."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def positive(size: int, seed: int, condition: float = 5.0) -> Tensor:
    """A symmetric matrix with eigenvalues from 1 to `condition`."""
    basis = torch.linalg.qr(numbers(size, size, seed=seed)).Q
    values = torch.linspace(1.0, condition, size, dtype=torch.float64)
    return basis @ torch.diag(values) @ basis.T


def inverse(H: Tensor, v: Tensor) -> Tensor:
    """H⁻¹ v."""
    return torch.linalg.solve(H, v)


def damped(damping: float) -> Inverse:
    """(H + damping·I)⁻¹ v."""
    return lambda H, v: torch.linalg.solve(H + damping * torch.eye(len(v), dtype=v.dtype), v)


def series(alpha: float, terms: int) -> Inverse:
    """α Σ_{k<terms} (I − αH)^k v."""

    def total(H: Tensor, v: Tensor) -> Tensor:
        step = torch.eye(len(v), dtype=v.dtype) - alpha * H
        powers = (torch.linalg.matrix_power(step, k) @ v for k in range(terms))
        return alpha * torch.stack([*powers]).sum(0)

    return total


def krylov(iterations: int) -> Inverse:
    """The point of span{v, Hv, …, H^{K−1}v} nearest to H⁻¹v in the norm of H."""

    def nearest(H: Tensor, v: Tensor) -> Tensor:
        columns = [v / v.norm()]
        for _ in range(iterations - 1):
            column = H @ columns[-1]
            for known in (*columns, *columns):
                column = column - (known @ column) * known
            columns.append(column / column.norm())
        V = torch.stack(columns, dim=1)
        return V @ torch.linalg.solve(V.T @ H @ V, V.T @ v)

    return nearest


def least_residual(iterations: int) -> Inverse:
    """The point of span{v, Av, …, A^{K−1}v} with the smallest ‖v − Aw‖."""

    def nearest(A: Tensor, v: Tensor) -> Tensor:
        powers = [torch.linalg.matrix_power(A, k) @ v for k in range(iterations)]
        V = torch.linalg.qr(torch.stack(powers, dim=1)).Q
        return V @ torch.linalg.lstsq(A @ V, v[:, None]).solution[:, 0]

    return nearest


def normal(iterations: int) -> Inverse:
    """The point of span{Aᵀv, (AᵀA)Aᵀv, …} with the smallest ‖v − Aw‖."""
    return lambda A, v: krylov(iterations)(A.T @ A, A.T @ v)


def multiple(factor: float) -> Inverse:
    """factor · v: what first-order methods take for H⁻¹v."""
    return lambda H, v: factor * v


@dataclass(frozen=True)
class Case:
    """Problems with their lower ones at rest.

    Attributes:
        upper: whose hypergradient is known.
        points: the parameters of every problem.
        losses: by problem; arguments are named like problems.
        edges: such as "u2l: outer -> inner".
        closed_form: the hypergradient, for a given inverse.
        nested: a lower problem constrains another one.
        partial: the closed form is that of partial curvature, which is asked for.
        bent: the cross-derivative changes with the lower solution, so that differences of finite
            length are not exact.
    """

    name: str
    upper: str
    points: Mapping[str, Tensor]
    losses: Mapping[str, Callable[..., Any]]
    edges: tuple[str, ...]
    closed_form: Callable[[Inverse], Tensor]
    nested: bool = False
    partial: bool = False
    bent: bool = False

    def graph(self, method: Any = "exact", unroll_steps: int = 1) -> Graph:
        """The graph, with the same method for every problem."""
        if self.partial:
            method = partially(method)
        sources = {edge.split()[1] for edge in self.edges if edge.startswith("l2u")}
        return Graph(
            problems={
                name: {
                    "module": Point(point),
                    "loss": self.losses[name],
                    "optimizer": {"_target_": torch.optim.SGD, "lr": RATE},
                    "precision": "float64",
                    "hypergradient": method,
                    "unroll_steps": unroll_steps if name in sources else 1,
                }
                for name, point in self.points.items()
            },
            edges=[dict([edge.split(": ")]) for edge in self.edges],
            engine={"of": self.upper, "device": "cpu"},
        )

    def hypergradient(self, method: Any) -> Tensor:
        """As `method` finds it, the lower problems standing still."""
        return at_rest(bound(self.graph(method)), self.upper)


def partially(method: Any) -> Any:
    """The method with partial curvature, if it knows of curvature at all."""
    given = {"method": method} if isinstance(method, str) else dict(method)
    knows = "curvature" in METHODS[given["method"]].model_fields
    return given | {"curvature": "partial"} if knows else given


def bound(graph: Graph) -> Program:
    """The graph, built."""
    return bind(graph.structure, graph.plan(), Imports())


def at_rest(program: Program, upper: str) -> Tensor:
    """The hypergradient of `upper` where every problem stands."""
    for visit in program.plan.sweeps[upper].visits:
        program.problems[visit.problem].next_moment()
    return backward(Executor(program), program, upper)


def after_loops(program: Program, upper: str) -> Tensor:
    """The hypergradient of `upper` in its first pass, after all that comes before it."""
    executor = Executor(program)
    passes = (Backward(upper), Step(upper))
    for instruction in takewhile(lambda one: one not in passes, program.plan.period):
        executor.execute(instruction)
    return backward(executor, program, upper)


def judged_after_loop(graph: Graph) -> float:
    """The outer loss at the end of the inner loop, as torch's ordinary steps leave it."""
    program = bound(graph)
    executor = Executor(program)
    for instruction in takewhile(lambda one: one != Step("outer"), program.plan.period):
        executor.execute(instruction)
    outer = program.problems["outer"]
    return float(outer.evaluate(outer.views(), outer.next_moment()).loss.detach())


def backward(executor: Executor, program: Program, name: str) -> Tensor:
    """The gradient of one more pass of a problem."""
    params = program.problems[name].model.params.values()
    for param in params:
        param.grad = None
    executor.execute(Backward(name))
    return flat(param.grad for param in params)


def flat(tensors: Iterable[Tensor | None]) -> Tensor:
    """All entries in one vector."""
    return torch.cat([tensor.detach().reshape(-1) for tensor in tensors if tensor is not None])


def parameters(program: Program, name: str) -> Tensor:
    """All parameters of a problem in one vector."""
    return flat(program.problems[name].model.params.values())


def relative_error(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def quadratic() -> Case:
    """Direct and indirect terms: inner ½xᵀAx − xᵀ(Bu + c), outer ½‖x − t‖² + ½ρ‖u‖² + uᵀDx."""
    A, B, c = positive(4, seed=1), numbers(4, 3, seed=2), numbers(4, seed=3)
    D, t, u = numbers(3, 4, seed=4), numbers(4, seed=5), numbers(3, seed=6)
    x = inverse(A, B @ u + c)

    def inner_loss(inner: Any, outer: Any) -> Tensor:
        return 0.5 * inner() @ A @ inner() - inner() @ (B @ outer() + c)

    def outer_loss(inner: Any, outer: Any) -> Tensor:
        direct = 0.35 * outer() @ outer() + outer() @ D @ inner()
        return 0.5 * (inner() - t).square().sum() + direct

    return Case(
        "quadratic",
        "outer",
        {"outer": u, "inner": x},
        {"outer": outer_loss, "inner": inner_loss},
        ("u2l: outer -> inner", "l2u: inner -> outer"),
        lambda solve: 0.7 * u + D @ x + B.T @ solve(A, x - t + D.T @ u),
    )


def ridge() -> Case:
    """One penalty for each feature: inner mean (Xw − y)² + Σ exp(λ_i) w_i², outer mean squares."""
    X, y = numbers(12, 5, seed=1), numbers(12, seed=2)
    X_new, y_new = numbers(9, 5, seed=3), numbers(9, seed=4)
    penalty = 0.3 * numbers(5, seed=5)
    H = 2 * X.T @ X / 12 + 2 * penalty.exp().diag()
    w = inverse(H, 2 * X.T @ y / 12)

    def weights_loss(weights: Any, penalties: Any) -> Tensor:
        fit = (X @ weights() - y).square().mean()
        return fit + (penalties().exp() * weights().square()).sum()

    def penalties_loss(weights: Any) -> Tensor:
        return (X_new @ weights() - y_new).square().mean()

    v = 2 * X_new.T @ (X_new @ w - y_new) / 9
    return Case(
        "ridge",
        "penalties",
        {"penalties": penalty, "weights": w},
        {"penalties": penalties_loss, "weights": weights_loss},
        ("u2l: penalties -> weights", "l2u: weights -> penalties"),
        lambda solve: -2 * penalty.exp() * w * solve(H, v),
    )


@dataclass(frozen=True)
class Logistic:
    """Inner mean BCE(Xw, y) + ½ Σ exp(λ_i) w_i², outer mean BCE on other data."""

    X: Tensor = field(default_factory=lambda: numbers(20, 4, seed=1))
    X_new: Tensor = field(default_factory=lambda: numbers(15, 4, seed=2))
    y: Tensor = field(default_factory=(numbers(20, seed=3) > 0).double)
    y_new: Tensor = field(default_factory=(numbers(15, seed=4) > 0).double)
    penalty: Tensor = field(default_factory=lambda: 0.2 * numbers(4, seed=5))

    def hessian(self, w: Tensor, penalty: Tensor) -> Tensor:
        p = (self.X @ w).sigmoid()
        return self.X.T @ ((p * (1 - p))[:, None] * self.X) / len(p) + penalty.exp().diag()

    def solved(self, penalty: Tensor) -> Tensor:
        """The inner solution by Newton's method."""
        w = torch.zeros_like(penalty)
        for _ in range(20):
            p = (self.X @ w).sigmoid()
            gradient = self.X.T @ (p - self.y) / len(p) + penalty.exp() * w
            w = w - inverse(self.hessian(w, penalty), gradient)
        return w

    def outer(self, w: Tensor) -> Tensor:
        return F.binary_cross_entropy_with_logits(self.X_new @ w, self.y_new)

    def case(self) -> Case:
        w = self.solved(self.penalty)
        p = (self.X_new @ w).sigmoid()
        v = self.X_new.T @ (p - self.y_new) / len(p)

        def weights_loss(weights: Any, penalties: Any) -> Tensor:
            fit = F.binary_cross_entropy_with_logits(self.X @ weights(), self.y)
            return fit + 0.5 * (penalties().exp() * weights().square()).sum()

        def penalties_loss(weights: Any) -> Tensor:
            return self.outer(weights())

        return Case(
            "logistic",
            "penalties",
            {"penalties": self.penalty, "weights": w},
            {"penalties": penalties_loss, "weights": weights_loss},
            ("u2l: penalties -> weights", "l2u: weights -> penalties"),
            lambda solve: -self.penalty.exp() * w * solve(self.hessian(w, self.penalty), v),
        )


def cleaning() -> Case:
    """Hyper-cleaning: a weight for each training sample, some of which have the wrong label.

    Inner mean σ(u_i)·BCE(x_i·w, y_i) + 0.15‖w‖², outer mean BCE on clean data.
    """
    X, X_new, truth = numbers(8, 4, seed=1), numbers(15, 4, seed=2), numbers(4, seed=3)
    y, y_new = ((data @ truth > 0).double() for data in (X, X_new))
    y[:2] = 1 - y[:2]
    u = 0.5 * numbers(8, seed=4)

    def hessian(w: Tensor) -> Tensor:
        p = (X @ w).sigmoid()
        curvature = u.sigmoid() * p * (1 - p) / 8
        return X.T @ (curvature[:, None] * X) + 0.3 * torch.eye(4, dtype=torch.float64)

    w = torch.zeros(4, dtype=torch.float64)
    for _ in range(20):
        slope = X.T @ (u.sigmoid() * ((X @ w).sigmoid() - y)) / 8 + 0.3 * w
        w = w - inverse(hessian(w), slope)

    def model_loss(model: Any, weights: Any) -> Tensor:
        each = F.binary_cross_entropy_with_logits(X @ model(), y, reduction="none")
        return (weights().sigmoid() * each).mean() + 0.15 * model().square().sum()

    def weights_loss(model: Any) -> Tensor:
        return F.binary_cross_entropy_with_logits(X_new @ model(), y_new)

    v = X_new.T @ ((X_new @ w).sigmoid() - y_new) / 15
    pushes = (u.sigmoid() * (-u).sigmoid() * ((X @ w).sigmoid() - y))[:, None] * X / 8
    return Case(
        "hyper-cleaning",
        "weights",
        {"weights": u, "model": w},
        {"weights": weights_loss, "model": model_loss},
        ("u2l: weights -> model", "l2u: model -> weights"),
        lambda solve: -pushes @ solve(hessian(w), v),
        bent=True,
    )


def chain() -> Case:
    """Leaf ½xᵀAx − xᵀBu, middle ½yᵀCy − yᵀEx, top ½‖y − t‖² + ½‖u‖²; u moves the leaf."""
    A, B = positive(4, seed=1), numbers(4, 3, seed=2)
    C, E = positive(5, seed=3), numbers(5, 4, seed=4)
    t, u = numbers(5, seed=5), numbers(3, seed=6)
    x = inverse(A, B @ u)
    y = inverse(C, E @ x)

    def leaf_loss(leaf: Any, top: Any) -> Tensor:
        return 0.5 * leaf() @ A @ leaf() - leaf() @ B @ top()

    def middle_loss(middle: Any, leaf: Any) -> Tensor:
        return 0.5 * middle() @ C @ middle() - middle() @ E @ leaf()

    def top_loss(middle: Any, top: Any) -> Tensor:
        return 0.5 * (middle() - t).square().sum() + 0.5 * top().square().sum()

    return Case(
        "chain",
        "top",
        {"top": u, "middle": y, "leaf": x},
        {"top": top_loss, "middle": middle_loss, "leaf": leaf_loss},
        ("u2l: top -> leaf", "l2u: leaf -> middle", "l2u: middle -> top"),
        lambda solve: u + B.T @ solve(A, E.T @ solve(C, y - t)),
    )


def diamond() -> Case:
    """Two middles over one leaf: the leaf's adjoint is the sum of what both send."""
    A, B = positive(4, seed=1), numbers(4, 3, seed=2)
    C, E = positive(5, seed=3), numbers(5, 4, seed=4)
    D, G = positive(5, seed=5), numbers(5, 4, seed=6)
    t, u = numbers(5, seed=7), numbers(3, seed=8)
    x = inverse(A, B @ u)
    left_point, right_point = inverse(C, E @ x), inverse(D, G @ x)

    def leaf_loss(leaf: Any, top: Any) -> Tensor:
        return 0.5 * leaf() @ A @ leaf() - leaf() @ B @ top()

    def left_loss(left: Any, leaf: Any) -> Tensor:
        return 0.5 * left() @ C @ left() - left() @ E @ leaf()

    def right_loss(right: Any, leaf: Any) -> Tensor:
        return 0.5 * right() @ D @ right() - right() @ G @ leaf()

    def top_loss(left: Any, right: Any, top: Any) -> Tensor:
        distance = (left() - 2 * right() - t).square().sum()
        return 0.5 * distance + 0.5 * top().square().sum()

    def closed_form(solve: Inverse) -> Tensor:
        v = left_point - 2 * right_point - t
        v_leaf = E.T @ solve(C, v) - 2 * G.T @ solve(D, v)
        return u + B.T @ solve(A, v_leaf)

    return Case(
        "diamond",
        "top",
        {"top": u, "left": left_point, "right": right_point, "leaf": x},
        {"top": top_loss, "left": left_loss, "right": right_loss, "leaf": leaf_loss},
        (
            "u2l: top -> leaf",
            "l2u: leaf -> left",
            "l2u: leaf -> right",
            "l2u: left -> top",
            "l2u: right -> top",
        ),
        closed_form,
    )


def hidden_path(*, partial: bool) -> Case:
    """k moves m, m moves j, and j stands in the losses of both: no l2u chain leads from m to k.

    The loss of m is linear in j, so that its total Hessian is C as well.
    """
    A, B = positive(4, seed=1), numbers(4, 5, seed=2)
    C, E, f = positive(5, seed=3), numbers(5, 3, seed=4), numbers(4, seed=5)
    t, k_point = numbers(4, seed=6), numbers(3, seed=7)
    m_point = inverse(C, E @ k_point - B.T @ inverse(A, f))
    j_point = inverse(A, B @ m_point)

    def j_loss(j: Any, m: Any) -> Tensor:
        return 0.5 * j() @ A @ j() - j() @ B @ m()

    def m_loss(m: Any, k: Any, j: Any) -> Tensor:
        return 0.5 * m() @ C @ m() - m() @ E @ k() + f @ j()

    def k_loss(k: Any, j: Any) -> Tensor:
        return 0.5 * (j() - t).square().sum() + 0.5 * k().square().sum()

    return Case(
        "hidden path, partial" if partial else "hidden path",
        "k",
        {"k": k_point, "m": m_point, "j": j_point},
        {"k": k_loss, "m": m_loss, "j": j_loss},
        ("u2l: k -> m", "u2l: m -> j", "l2u: j -> m", "l2u: j -> k"),
        lambda solve: k_point + E.T @ solve(C, B.T @ solve(A, j_point - t)),
        nested=True,
        partial=partial,
    )


def nested(*, partial: bool) -> Case:
    """The chain, and the middle moves the leaf as well.

    The Hessian of the middle's total loss ½yᵀCy − yᵀE A⁻¹(Bu + Gy) is C − E A⁻¹G − (E A⁻¹G)ᵀ;
    partial curvature takes C.
    """
    A, B, G = positive(4, seed=1), numbers(4, 3, seed=2), 0.3 * numbers(4, 5, seed=9)
    C, E = positive(5, seed=3), numbers(5, 4, seed=4)
    t, u = numbers(5, seed=5), numbers(3, seed=6)
    y = inverse(C - E @ inverse(A, G) - inverse(A, G).T @ E.T, E @ inverse(A, B @ u))
    x = inverse(A, B @ u + G @ y)

    def leaf_loss(leaf: Any, middle: Any, top: Any) -> Tensor:
        return 0.5 * leaf() @ A @ leaf() - leaf() @ (B @ top() + G @ middle())

    def middle_loss(middle: Any, leaf: Any) -> Tensor:
        return 0.5 * middle() @ C @ middle() - middle() @ E @ leaf()

    def top_loss(middle: Any, top: Any) -> Tensor:
        return 0.5 * (middle() - t).square().sum() + 0.5 * top().square().sum()

    def closed_form(solve: Inverse) -> Tensor:
        answers = torch.stack([solve(A, column) for column in G.T], dim=1)
        H = C if partial else C - E @ answers - answers.T @ E.T
        return u + B.T @ solve(A, E.T @ solve(H, y - t))

    return Case(
        "nested, partial" if partial else "nested",
        "top",
        {"top": u, "middle": y, "leaf": x},
        {"top": top_loss, "middle": middle_loss, "leaf": leaf_loss},
        (
            "u2l: top -> leaf",
            "u2l: middle -> leaf",
            "l2u: leaf -> middle",
            "l2u: middle -> top",
        ),
        closed_form,
        nested=True,
        partial=partial,
    )


def fixed_point() -> Case:
    """x = Mx + Bu + c, as a field; M is not symmetric, and its spectral radius is 0.6."""
    M = numbers(4, 4, seed=1)
    M = 0.6 * M / torch.linalg.eigvals(M).abs().max()
    J = torch.eye(4, dtype=torch.float64) - M
    B, c, t, u = numbers(4, 3, seed=2), numbers(4, seed=3), numbers(4, seed=4), numbers(3, seed=5)
    x = inverse(J, B @ u + c)

    def inner_loss(inner: Any, outer: Any) -> dict[str, Any]:
        way = inner() - (M @ inner() + B @ outer() + c)
        field = {"head": way[:1], "tail": way[1:]}
        return {"loss": 0.5 * way.square().sum(), "field": field}

    def outer_loss(inner: Any, outer: Any) -> Tensor:
        return 0.5 * (inner() - t).square().sum() + 0.5 * outer().square().sum()

    return Case(
        "fixed point",
        "outer",
        {"outer": u, "inner": x},
        {"outer": outer_loss, "inner": inner_loss},
        ("u2l: outer -> inner", "l2u: inner -> outer"),
        lambda solve: u + B.T @ solve(J.T, x - t),
    )


def game() -> Case:
    """One player minimises f over the head, the other maximises it over the tail:

    f(x, y) = ½x² + xCy − ½yᵀDy + xPu − yᵀQu, so that the field (∂_x f, −∂_y f) has the Jacobian
    (1, C; −Cᵀ, D). The upper problem moves both players.
    """
    C, D = 0.7 * numbers(1, 3, seed=1), positive(3, seed=2, condition=2.0)
    P, Q, t = numbers(1, 3, seed=3), numbers(3, 3, seed=4), numbers(4, seed=5)
    u, one = numbers(3, seed=6), torch.ones(1, 1, dtype=torch.float64)
    J, cross = torch.cat([torch.cat([one, C], 1), torch.cat([-C.T, D], 1)]), torch.cat([P, Q])
    players = inverse(J, -cross @ u)

    def players_loss(players: Any, rules: Any) -> dict[str, Any]:
        x, y = players.parameters()
        value = 0.5 * x @ x + x @ C @ y - 0.5 * y @ D @ y + x @ P @ rules() - y @ Q @ rules()
        down, up = torch.autograd.grad(value, (x, y), create_graph=True)
        return {"loss": value, "field": {"head": down, "tail": -up}}

    def rules_loss(players: Any, rules: Any) -> Tensor:
        return 0.5 * (players() - t).square().sum() + 0.35 * rules().square().sum()

    return Case(
        "game",
        "rules",
        {"rules": u, "players": players},
        {"rules": rules_loss, "players": players_loss},
        ("u2l: rules -> players", "l2u: players -> rules"),
        lambda solve: 0.7 * u - cross.T @ solve(J.T, players - t),
    )


CASES = (
    quadratic(),
    ridge(),
    Logistic().case(),
    cleaning(),
    chain(),
    diamond(),
    hidden_path(partial=False),
    hidden_path(partial=True),
    nested(partial=False),
    nested(partial=True),
)

# Their lower problems descend a field, whose Jacobian is not symmetric.
GENERAL = (fixed_point(), game())


@dataclass(frozen=True)
class Maml:
    """T steps of SGD from u on ½xᵀAx − bᵀx + weight/2·‖x − u‖², judged by ½‖x − t‖²."""

    A: Tensor = field(default_factory=lambda: positive(4, seed=1))
    b: Tensor = field(default_factory=lambda: numbers(4, seed=2))
    t: Tensor = field(default_factory=lambda: numbers(4, seed=3))
    u: Tensor = field(default_factory=lambda: numbers(4, seed=4))
    weight: float = 0.0
    steps: int = 3

    def graph(self, method: Any, inner: Mapping[str, Any] | None = None, **outer: Any) -> Graph:
        more = inner or {}

        def task(inner: Any) -> Tensor:
            return 0.5 * inner() @ self.A @ inner() - self.b @ inner()

        def anchored(inner: Any, outer: Any) -> Tensor:
            return task(inner) + 0.5 * self.weight * (inner() - outer()).square().sum()

        def judged(inner: Any) -> Tensor:
            return 0.5 * (inner() - self.t).square().sum()

        sgd = {"_target_": torch.optim.SGD, "lr": RATE}
        return Graph(
            problems={
                "outer": {
                    "module": Point(self.u),
                    "loss": judged,
                    "optimizer": sgd,
                    "precision": "float64",
                    **outer,
                },
                "inner": {
                    "module": {"copy": "outer"},
                    "start_from": "outer",
                    "loss": anchored if self.weight else task,
                    "optimizer": sgd,
                    "precision": "float64",
                    "unroll_steps": self.steps,
                    "hypergradient": method,
                    **more,
                },
            },
            edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
            engine={"device": "cpu"},
        )

    def hypergradient(self, method: Any) -> Tensor:
        return after_loops(bound(self.graph(method)), "outer")

    @property
    def hessian(self) -> Tensor:
        return self.A + self.weight * torch.eye(4, dtype=torch.float64)

    @property
    def adapted(self) -> Tensor:
        """x_T, from the fixed point x* and x_T − x* = (I − ηH)^T (u − x*)."""
        fixed = inverse(self.hessian, self.b + self.weight * self.u)
        return fixed + self._decay @ (self.u - fixed)

    @property
    def unrolled(self) -> Tensor:
        """(∂x_T/∂u)ᵀ (x_T − t): through the start, and through the anchor in every step."""
        v = self.adapted - self.t
        return self._decay @ v + self.weight * series(RATE, self.steps)(self.hessian, v)

    def implicit(self, solve: Inverse) -> Tensor:
        """weight · H⁻¹ (x_T − t), as if x_T were the solution."""
        return self.weight * solve(self.hessian, self.adapted - self.t)

    @property
    def first_order(self) -> Tensor:
        return self.adapted - self.t

    @property
    def reptile(self) -> Tensor:
        """u − x_T."""
        return self.u - self.adapted

    @property
    def _decay(self) -> Tensor:
        step = torch.eye(4, dtype=torch.float64) - RATE * self.hessian
        return torch.linalg.matrix_power(step, self.steps)
