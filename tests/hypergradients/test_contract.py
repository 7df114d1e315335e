"""What every registered method must do: be exercised, be right on every case, leave no trace."""

from __future__ import annotations

import inspect
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
import pytest
import torch
from cases import (
    CASES,
    GENERAL,
    RATE,
    Case,
    Inverse,
    Maml,
    after_loops,
    at_rest,
    bound,
    damped,
    inverse,
    krylov,
    least_residual,
    multiple,
    normal,
    numbers,
    relative_error,
    series,
)
from torch import Tensor, nn

from mlograph import Graph
from mlograph.errors import NumericError, UsageError
from mlograph.executor import Executor
from mlograph.hypergradients import METHODS, HypergradientMethod, Implicit, Pulled, Response
from mlograph.language import methods
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.trees import Vector

# Each method with the options that make it known, and what it then takes for the inverse.
REFERENCES: dict[str, tuple[dict[str, Any], Inverse]] = {
    "exact": ({"damping": 0.5}, damped(0.5)),
    "cg": ({"iterations": 3}, krylov(3)),
    "gmres": ({"iterations": 3}, least_residual(3)),
    "bicgstab": ({"iterations": 20, "tol": 1e-13, "damping": 0.5}, damped(0.5)),
    "normal_cg": ({"iterations": 3}, normal(3)),
    "neumann": ({"iterations": 3, "alpha": 0.1}, series(0.1, 4)),
    "nystrom": ({"rank": 10, "rho": 0.5}, damped(0.5)),
    "identity": ({"scale": "lr"}, multiple(RATE)),
    "soba": ({"steps": 4}, series(RATE, 4)),
    "darts": ({"scale": "lr"}, multiple(RATE)),
    "sama": ({}, multiple(RATE)),
    "penalty": (
        {"weight": 1e4, "steps": 4, "rate": RATE, "symmetric": True},
        series(RATE, 4),
    ),
    "es": ({"samples": 100}, series(RATE, 4)),
    "first_order": ({}, multiple(0.0)),
    "unroll": ({}, series(RATE, 4)),
    "forward": ({}, series(RATE, 4)),
    "fixed_point": ({"iterations": 3}, series(RATE, 4)),
}

# What methods that go through the start of the loop give for MAML.
STARTED: dict[str, Callable[[Maml], Tensor]] = {
    "first_order": lambda maml: maml.first_order,
    "reptile": lambda maml: maml.reptile,
    "unroll": lambda maml: maml.unrolled,
    "forward": lambda maml: maml.unrolled,
}

# They go through the loop itself, so it has to run.
LOOPED = ("unroll", "forward", "es")
# Stopped early, they are no linear maps.
KRYLOV = ("cg", "gmres", "normal_cg")
# They know only the curvature of a problem's own loss.
PARTIAL = ("penalty", "fixed_point")
# They take differences of a loss's gradients, so a field is nothing to them.
SCALAR = ("darts", "sama", "penalty")
# The cosine is what an estimate from random directions is judged by.
ESTIMATES = ("es",)

# Those that can do without a start.
free = sorted(name for name in METHODS if not methods.METHODS[name].needs_start)


def applicable() -> list[Any]:
    """A nested problem's loop moves by what unrolling finds for it, so it is never at rest.

    A few iterations of a Krylov method are no linear map, so a Hessian made of them has no closed
    form.
    """
    gradients = [
        (case, name)
        for name in REFERENCES
        for case in CASES
        if not case.nested
        or (name not in LOOPED and (name not in (*KRYLOV, *PARTIAL) or case.partial))
    ]
    fields = [
        (case, name)
        for name in REFERENCES
        for case in GENERAL
        if name not in SCALAR and not methods.METHODS[name].needs_symmetry
    ]
    return [pytest.param(case, name, id=f"{name}-{case.name}") for case, name in gradients + fields]


def test_what_graph_files_may_name_is_what_is_registered():
    assert METHODS.keys() == methods.METHODS.keys()
    assert [kind.model_fields["method"].default for kind in methods.METHODS.values()] == [*METHODS]
    assert {*get_args(get_args(methods.Hypergradient)[0])} == {*methods.METHODS.values()}


def test_every_registered_method_is_exercised():
    assert REFERENCES.keys() == {*free}
    assert STARTED.keys() >= METHODS.keys() - {*free}


# In whose words a cost is told.
COSTS = r"HVP|VJP|[Vv]ector-[Jj]acobian|products|gradients|runs|[Cc]osts nothing"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_tells_its_paper_its_options_and_its_cost(name: str):
    kind = METHODS[name]
    assert isinstance(kind, type)
    own = inspect.getdoc(kind) or ""
    shared = inspect.getdoc(Implicit) or "" if issubclass(kind, Implicit) else ""
    assert vars(kind)["__doc__"]
    assert re.search(r"(19|20)\d\d[,)]", own)
    assert re.search(COSTS, own)
    options = methods.METHODS[name].model_fields.keys() - {"method"}
    assert [option for option in options if f"`{option}" not in own + shared] == []


@pytest.mark.parametrize("name", STARTED)
def test_a_method_agrees_with_its_closed_form_through_the_start(name: str):
    maml = Maml(weight=0.7)
    assert relative_error(maml.hypergradient(name), STARTED[name](maml)) < 1e-10


@pytest.mark.parametrize(("case", "name"), applicable())
def test_a_method_agrees_with_its_closed_form(case: Case, name: str):
    options, solve = REFERENCES[name]
    program = bound(case.graph({"method": name, **options}, unroll_steps=4))
    measure = after_loops if name in LOOPED else at_rest
    expected = case.closed_form(solve)
    if name in ESTIMATES:
        found = measure(program, case.upper)
        assert torch.cosine_similarity(found, expected, dim=0) > 0.9
    elif expected.any():
        limit = 1e-3 if case.bent and name in SCALAR else 1e-10
        assert relative_error(measure(program, case.upper), expected) < limit
    else:
        with pytest.raises(UsageError, match="directly or through a lower problem"):
            measure(program, case.upper)


# With as many iterations as they need, these take the inverse itself, nested or not.
CONVERGED: dict[str, dict[str, Any]] = {
    "exact": {},
    "cg": {"iterations": 8},
    "gmres": {"iterations": 8},
    "bicgstab": {"iterations": 16},
    "normal_cg": {"iterations": 16},
    "nystrom": {"rank": 8, "rho": 1e-12},
}


@pytest.mark.parametrize(
    ("case", "name"),
    [
        pytest.param(case, name, id=f"{name}-{case.name}")
        for name in CONVERGED
        for case in (CASES if methods.METHODS[name].needs_symmetry else (*CASES, *GENERAL))
    ],
)
def test_with_enough_iterations_a_solver_is_exact(case: Case, name: str):
    found = case.hypergradient({"method": name, **CONVERGED[name]})
    assert relative_error(found, case.closed_form(inverse)) < 1e-8


WARM = [name for name in free if "warm_start" in methods.METHODS[name].model_fields]


@pytest.mark.parametrize("name", WARM)
def test_a_warm_start_survives_a_loss_that_touches_other_parameters_now(name: str):
    case = CASES[0]

    def by_turns(inner: Any, outer: Any, step: int) -> Tensor:
        touched = inner.parameters()[step % 2]
        return (touched * outer().sum()).sum() + touched.square().sum()

    losses = {**case.losses, "inner": by_turns}
    program = bound(replace(case, losses=losses).graph({"method": name, "warm_start": True}))
    executor = Executor(program)
    for instruction in 4 * program.plan.period:
        executor.execute(instruction)
    assert program.problems["outer"].updates == 4


@dataclass(frozen=True)
class Watched:
    """A method, and everything that a pull could change, before and after each pull."""

    method: HypergradientMethod
    fuse: Fuse | None = None
    seen: list[tuple[list[Tensor], list[Tensor]]] = field(default_factory=list)

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        before = [*everything(response.problem)]
        if self.fuse is not None:
            self.fuse.is_lit = True
        try:
            return self.method.pull(response, adjoint, targets)
        finally:
            self.seen.append((before, [*everything(response.problem)]))


@dataclass
class Fuse:
    """Makes a loss fail in one of its evaluations within a pull."""

    left: int
    is_lit: bool = False

    def burn(self) -> None:
        self.left -= self.is_lit
        if self.left < 0:
            raise RuntimeError("the fuse is burnt")


def everything(problem: Problem) -> Iterator[Tensor]:
    for model in (problem.model, *problem.others.values()):
        yield from (tensor.clone() for tensor in model.module.state_dict().values())
        yield from (p.grad.clone() for p in model.params.values() if p.grad is not None)
    for entries in problem.optimizer.state.values():
        yield from (torch.as_tensor(value).clone() for value in entries.values())
    yield torch.get_rng_state()
    _, words, position, *_ = np.random.get_state()
    yield torch.tensor([*words.tolist(), position])  # type: ignore[union-attr]
    yield torch.tensor(random.getstate()[1])
    yield torch.tensor([torch.is_grad_enabled(), torch.get_default_dtype() == torch.float32])


def noisy_graph(method: dict[str, Any], fuse: Fuse | None = None) -> Graph:
    """A network with dropout and running statistics, under a problem that weighs its samples.

    Its loss draws from every generator.
    """
    x, y = numbers(6, 3, seed=1), numbers(6, seed=2)

    def fit(inner: Any, outer: Any) -> Tensor:
        mixed = np.random.rand() * x + random.random() * x.flip(0)
        errors = (inner(mixed).squeeze(1) - y).square()
        if fuse is not None:
            fuse.burn()
        return (outer().sigmoid() * errors).mean() + 0.1 * outer()[0] * inner.parameters()[0].sum()

    def judge(inner: Any, outer: Any) -> Tensor:
        return (inner(x).squeeze(1) - y).square().mean() + 0.1 * outer().square().sum()

    torch.manual_seed(0)
    layers = (nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.4), nn.Tanh(), nn.Linear(4, 1))
    return Graph(
        problems={
            "outer": {
                "module": Weights(),
                "loss": judge,
                "optimizer": "sgd",
                "precision": "float64",
            },
            "inner": {
                "module": nn.Sequential(*layers),
                "loss": fit,
                "optimizer": "adam",
                "precision": "float64",
                "unroll_steps": 3,
                "hypergradient": method,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )


class Weights(nn.Module):
    """Six numbers and a running statistic."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.zeros(6, 1))
        self.norm = nn.BatchNorm1d(1, affine=False)

    def forward(self) -> Tensor:
        return self.norm(self.weights + torch.arange(6.0, dtype=self.weights.dtype)[:, None])[:, 0]


def watch(program: Program, fuse: Fuse | None = None) -> tuple[Program, Watched]:
    watched = Watched(program.methods["inner"], fuse)
    return replace(program, methods={**program.methods, "inner": watched}), watched


@pytest.mark.parametrize("name", free)
def test_a_pull_leaves_no_trace(name: str):
    program, watched = watch(bound(noisy_graph({"method": name})))
    executor = Executor(program)
    for instruction in (*program.plan.period, *program.plan.period):
        executor.execute(instruction)
    assert len(watched.seen) == 2
    for before, after in watched.seen:
        assert len(before) == len(after) > 20
        assert all(map(torch.equal, before, after))


# By method: evaluations of the loss in a pull of two steps.
EVALUATIONS = {
    **dict.fromkeys((*CONVERGED, "neumann", "identity", "soba", "fixed_point"), 1),
    "darts": 2,
    "sama": 3,
    "penalty": 11,
    "es": 60,
    "unroll": 3,
}


def test_methods_whose_pulls_evaluate_no_loss_are_known():
    assert {*free} - EVALUATIONS.keys() == {"first_order", "forward"}


@pytest.mark.parametrize("which", [0, -1])
@pytest.mark.parametrize("name", EVALUATIONS)
def test_neither_does_one_that_fails_on_its_way(name: str, which: int):
    fuse = Fuse(range(EVALUATIONS[name])[which])
    method = {"method": name, **({"checkpoint": "steps"} if name == "unroll" else {})}
    program, watched = watch(bound(noisy_graph(method, fuse)), fuse)
    executor = Executor(program)
    with pytest.raises(UsageError, match="the fuse is burnt"):
        for instruction in program.plan.period:
            executor.execute(instruction)
    ((before, after),) = watched.seen
    assert len(before) == len(after) > 20
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize("checkpoint", ["steps", "sqrt"])
def test_what_is_made_again_draws_from_every_generator_what_it_drew(checkpoint: str):
    found = []
    for kept in ("none", checkpoint):
        torch.manual_seed(0)
        np.random.seed(0)
        random.seed(0)
        program = bound(noisy_graph({"method": "unroll", "checkpoint": kept}))
        found.append(after_loops(program, "outer"))
    assert relative_error(*found) < 1e-12


@pytest.mark.parametrize("name", sorted({*free} - {"first_order"}))
def test_an_untouched_upper_problem_is_an_error_that_names_the_edge(name: str):
    case = CASES[0]
    losses = {**case.losses, "inner": lambda inner, outer: inner().square().sum()}
    program = bound(replace(case, losses=losses).graph({"method": name}))
    with pytest.raises(NumericError, match="the edge 'outer -> inner' has no effect"):
        after_loops(program, "outer")
