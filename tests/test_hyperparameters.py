"""Options of an optimiser that upper problems learn."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import bound, complaints, failure, graph
from cases import Point, after_loops, numbers, parameters, positive, relative_error
from optimisers import VARIANTS
from torch import Tensor, nn

import mlograph
from mlograph import Graph
from mlograph.executor import Executor
from mlograph.optimizers import PROPORTIONAL
from mlograph.plan import Step
from mlograph.program import Program
from mlograph.state import preserved
from mlograph.wording import approximations

A, TARGET, START = positive(4, seed=1), numbers(4, seed=3), numbers(4, seed=4)
SHIFTS = numbers(3, 4, seed=5)
STEPS = 6
X = 0.3


class Numbers(nn.Module):
    """Free numbers in float64."""

    def __init__(self, *values: float) -> None:
        super().__init__()
        self.x = nn.Parameter(torch.tensor(values, dtype=torch.float64))

    def forward(self) -> Tensor:
        return self.x


def curved(inner: Any, batch: Tensor) -> Tensor:
    distance = inner() - batch
    return 0.5 * distance @ A @ distance + 0.1 * inner().pow(4).sum()


def coupled(inner: Any, rates: Any, batch: Tensor) -> Tensor:
    """The same, and it reads the problem above."""
    return curved(inner, batch) + 0.0 * rates().sum()


def judged(inner: Any) -> Tensor:
    return 0.5 * (inner() - TARGET).square().sum()


def given(rates: Any) -> Tensor:
    return 0.1 * rates()[0].exp()


def rate(name: str, **arguments: Any) -> dict[str, Any]:
    """A function of `mlograph.rates`."""
    return {"_target_": f"mlograph.rates.{name}", "rates": "rates", **arguments}


def learning(
    options: Mapping[str, Any], *, rates: Mapping[str, Any] | None = None, **inner: Any
) -> Graph:
    """A problem `rates` that gives options to the optimiser of `inner`."""
    sgd = {"_target_": "sgd", "lr": 7.0}
    common = {"precision": "float64", "optimizer": sgd}
    upper = {**common, "module": Numbers(X), "loss": judged, **(rates or {})}
    lower = {
        **common,
        "module": Point(START),
        "loss": curved,
        "data": tuple(SHIFTS),
        "hyperparameters": options,
        "unroll_steps": STEPS,
        "hypergradient": "unroll",
    }
    return graph(
        {"rates": upper, "inner": {**lower, **inner}},
        edges=[("u2l", "rates", "inner"), ("l2u", "inner", "rates")],
    )


def ran(declared: Graph, loops: int = 1) -> Program:
    """The program after some of its inner loops, the upper problem standing still."""
    program = bound(declared)
    executor = Executor(program)
    for _ in range(loops):
        for instruction in takewhile(lambda one: one != Step("rates"), program.plan.period):
            executor.execute(instruction)
    return program


def by_hand(
    optimizer: tuple[Any, Mapping[str, Any]], options: Mapping[str, Any], value: float
) -> Tensor:
    """Where torch's own loop ends with `value` for each of the options."""
    kind, arguments = optimizer
    x = nn.Parameter(START.clone())
    stepped = kind([x], **{**arguments, **dict.fromkeys(options, value)})
    for step in range(STEPS):
        stepped.zero_grad()
        curved(lambda: x, SHIFTS[step % 3]).backward()
        nn.utils.clip_grad_norm_([x], 2.0)
        stepped.step()
    return x.detach()


def slope(optimizer: tuple[Any, Mapping[str, Any]], options: Mapping[str, Any]) -> float:
    """d(½‖x_T − t‖²)/dx for options 0.1·exp(x), from four runs of torch's own loop."""
    h = 3e-4

    def at(times: int) -> float:
        value = float(given(lambda: torch.tensor([X + times * h], dtype=torch.float64)))
        return float(0.5 * (by_hand(optimizer, options, value) - TARGET).square().sum())

    return (8 * (at(1) - at(-1)) - (at(2) - at(-2))) / (12 * h)


LEARNABLE = {name: pair for name, pair in VARIANTS.items() if pair[0] in PROPORTIONAL}
EACH = [
    pytest.param(name, dict.fromkeys(options, given), id=f"{name}: {', '.join(options)}")
    for name, (_, set_up) in LEARNABLE.items()
    for options in (("lr",), ("weight_decay",), ("lr", "weight_decay"), ("lr", "momentum"))
    if "momentum" not in options or ("momentum" in set_up and not set_up.get("nesterov"))
]


def test_all_optimisers_are_tried_but_those_that_find_the_lengths_of_their_steps_themselves():
    assert {kind for kind, _ in LEARNABLE.values()} == PROPORTIONAL
    able = {kind for kind, _ in VARIANTS.values()}
    assert able - PROPORTIONAL == {torch.optim.ASGD, torch.optim.Rprop}


@pytest.mark.parametrize(("name", "options"), EACH)
def test_the_loop_is_torchs_own_and_so_is_its_derivative(name: str, options: dict[str, Any]):
    kind, arguments = LEARNABLE[name]
    inner = {"optimizer": {"_target_": kind, **arguments}, "gradient_clipping": 2.0}
    value = float(given(lambda: torch.tensor([X], dtype=torch.float64)))
    end = by_hand((kind, arguments), options, value)
    # torch's ordinary NAdam keeps a product in float32.
    precision = 1e-6 if kind is torch.optim.NAdam else 1e-10
    program = ran(learning(options, **inner))
    assert relative_error(parameters(program, "inner"), end) < precision
    (group,) = program.problems["inner"].optimizer.param_groups
    assert all(group[option] == pytest.approx(value, rel=1e-12) for option in options)
    plain = ran(learning(options, hypergradient="identity", loss=coupled, **inner))
    assert relative_error(parameters(plain, "inner"), end) < 1e-12
    found = after_loops(bound(learning(options, **inner)), "rates")
    assert float(found) == pytest.approx(slope((kind, arguments), options), rel=1e-6)


@pytest.mark.parametrize(
    "method",
    [
        "forward",
        {"method": "unroll", "checkpoint": "steps"},
        {"method": "unroll", "checkpoint": "sqrt"},
        {"method": "unroll", "truncate": STEPS},
    ],
)
def test_all_methods_that_differentiate_steps_agree(method: Any):
    options = {"lr": given, "weight_decay": given}
    inner = {"optimizer": "torch.optim.AdamW"}
    expected = after_loops(bound(learning(options, **inner)), "rates")
    found = after_loops(bound(learning(options, hypergradient=method, **inner)), "rates")
    assert relative_error(found, expected) < 1e-10


def test_evolution_strategies_run_the_loop_with_other_options():
    expected = float(after_loops(bound(learning({"lr": given})), "rates"))
    method = {"method": "es", "samples": 200, "sigma": 1e-3}
    found = float(after_loops(bound(learning({"lr": given}, hypergradient=method)), "rates"))
    assert found == pytest.approx(expected, rel=0.3)


def per_entry(rates: Any) -> dict[str, Tensor]:
    return {"head": rates()[:1].exp(), "tail": rates()[1:].exp()}


RATES = (-2.0, -3.0, -2.5, -1.5)


def meta_sgd(**inner: Any) -> Graph:
    """A learning rate for every entry (Li et al., 2017)."""
    return learning({"lr": per_entry}, rates={"module": Numbers(*RATES)}, **inner)


def test_one_step_of_meta_sgd():
    """x₁ = x₀ − α∘g with α = exp(r), so dL/dr = −α∘g∘(x₁ − t)."""
    slope_there = A @ (START - SHIFTS[0]) + 0.4 * START.pow(3)
    alpha = torch.tensor(RATES, dtype=torch.float64).exp()
    v = START - alpha * slope_there - TARGET
    found = after_loops(bound(meta_sgd(unroll_steps=1)), "rates")
    assert relative_error(found, -alpha * slope_there * v) < 1e-12


def test_meta_sgd_in_an_ordinary_loop_goes_the_same_way():
    inner = {"optimizer": {"_target_": "adamw", "weight_decay": 0.2}}
    recorded = ran(meta_sgd(**inner))
    plain = ran(meta_sgd(hypergradient="identity", loss=coupled, **inner))
    assert relative_error(parameters(plain, "inner"), parameters(recorded, "inner")) < 1e-12
    states = [p.problems["inner"].optimizer.state for p in (plain, recorded)]
    means = [torch.cat([e["exp_avg"] for e in state.values()]) for state in states]
    assert torch.allclose(*means, rtol=1e-12)


def test_a_group_then_holds_the_mean_rate_of_its_parameters():
    program = ran(meta_sgd())
    (group,) = program.problems["inner"].optimizer.param_groups
    alpha = torch.tensor(RATES, dtype=torch.float64).exp()
    assert group["lr"] == pytest.approx(float((alpha[0] + alpha[1:].mean()) / 2))


def test_sama_steps_with_the_rates_of_every_entry():
    """w = α∘v for SGD, and the cross-derivative of ⟨c(r), x⟩ by r is known."""

    def pulled(inner: Any, rates: Any) -> Tensor:
        return (rates().sin() * inner()).sum()

    inner = {"loss": pulled, "data": None, "hypergradient": "sama", "unroll_steps": 1}
    r = torch.tensor(RATES, dtype=torch.float64)
    program = bound(meta_sgd(**inner))
    found = after_loops(program, "rates")
    v = parameters(program, "inner") - TARGET
    assert relative_error(found, -r.cos() * r.exp() * v) < 1e-8


class Steps:
    """Notes the steps that it is asked for."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def rate(self) -> Callable[..., Tensor]:
        def function(rates: Any, step: int) -> Tensor:
            self.seen.append(step)
            return 0.01 * rates()[0].exp()

        return function


def test_steps_are_counted_from_the_beginning():
    steps = Steps()
    inner = {"hypergradient": "identity", "loss": coupled, "unroll_steps": 2}
    ran(learning({"lr": steps.rate()}, **inner), loops=2)
    assert [*dict.fromkeys(steps.seen)] == [0, 1, 2, 3]


def test_where_every_loop_starts_anew_they_are_counted_from_its_start():
    steps = Steps()

    def graph_of(method: str) -> Graph:
        return learning(
            {"lr": steps.rate()},
            rates={"module": Point(START), "loss": judged},
            module=Point(START),
            start_from="rates",
            hypergradient=method,
            unroll_steps=2,
        )

    ran(graph_of("unroll"), loops=2)
    assert {*steps.seen} == {0, 1}
    program = ran(graph_of("unroll"), loops=2)
    inner = program.problems["inner"]
    assert (inner.updates, inner.began) == (4, 2)
    with preserved([inner]):
        inner.began = 7
    assert inner.began == 2


def test_a_step_that_is_made_again_has_the_options_it_had():
    """The upper problem has moved on since, and a schedule as well."""
    row = rate("schedule", scale=0.1)
    rates = {"module": Numbers(0.5, -0.2, 0.1, 0.0, -1.0, 0.4)}
    kept = after_loops(bound(learning({"lr": row}, rates=rates)), "rates")
    rates = {"module": Numbers(0.5, -0.2, 0.1, 0.0, -1.0, 0.4)}
    again = {"method": "unroll", "checkpoint": "sqrt"}
    found = after_loops(bound(learning({"lr": row}, rates=rates, hypergradient=again)), "rates")
    assert kept.shape == (6,)
    assert bool(kept.abs().min() > 1e-6)
    assert relative_error(found, kept) < 1e-12


# What is refused, and in which words.

PLACE = "problems.inner.hyperparameters"


@pytest.mark.parametrize("method", ["exact", "cg", "darts", "sama", "fixed_point", "first_order"])
def test_a_method_that_does_not_look_at_options_cannot_learn_them(method: str):
    assert complaints(lambda: bound(learning({"lr": given}, hypergradient=method))) == [
        f"problems.inner.hypergradient: '{method}' differentiates the loss of 'inner', which does "
        "not read 'rates'; it does not see that 'lr' does (use 'unroll')"
    ]


def test_options_that_an_optimiser_does_not_have():
    inner = {"optimizer": "torch.optim.Adam"}
    assert complaints(lambda: bound(learning({"momentum": given}, **inner))) == [
        f"{PLACE}.momentum: Adam has no 'momentum'"
    ]


def test_optimisers_whose_steps_are_not_proportional_to_a_rate():
    inner = {"optimizer": "torch.optim.Rprop"}
    assert complaints(lambda: bound(learning({"lr": given}, **inner))) == [
        f"{PLACE}: options of Rprop cannot be learned (those of Adadelta, Adagrad, Adam, AdamW, "
        "Adamax, NAdam, RAdam, RMSprop, SGD can)"
    ]


def test_nesterovs_momentum():
    inner = {"optimizer": {"_target_": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}}
    assert complaints(lambda: bound(learning({"momentum": given}, **inner))) == [
        f"{PLACE}.momentum: Nesterov's momentum cannot be learned: torch takes it as a number only "
        "(leave out 'nesterov')"
    ]


def test_a_scheduler_beside_a_learned_rate():
    inner = {"scheduler": {"_target_": "exponential", "gamma": 0.9}}
    assert complaints(lambda: bound(learning({"lr": given}, **inner))) == [
        f"{PLACE}.lr: a scheduler sets the learning rate that is given here "
        "(leave out the scheduler: the function may take 'step')"
    ]
    bound(learning({"weight_decay": given}, **inner))


def test_groups_with_rates_of_their_own():
    groups = [{"params": "head", "lr": 0.5}]
    inner = {"optimizer": {"_target_": "sgd", "lr": 0.1, "params": groups}}
    assert complaints(lambda: bound(learning({"lr": given}, **inner))) == [
        f"{PLACE}.lr: the groups of the optimiser differ in 'lr', which is given here "
        "(leave 'lr' out of 'params')"
    ]


def of_batch(rates: Any, batch: Any) -> Tensor:
    return rates()[0]


def of_itself(inner: Any) -> Tensor:
    return inner().sum()


def test_what_a_rate_may_be_a_function_of():
    assert complaints(lambda: bound(learning({"lr": of_batch}))) == [
        f"{PLACE}.lr: a hyperparameter is no function of a batch"
    ]
    assert complaints(lambda: bound(learning({"lr": of_itself}, loss=coupled))) == [
        f"{PLACE}.lr: 'lr' of 'inner' reads 'inner' which does not lie above"
    ]


def test_the_edge_is_needed():
    declared = learning({"lr": given}).spec
    edges = [("l2u", "inner", "rates")]
    problems = {name: dict(spec) for name, spec in declared.problems.items()}
    assert complaints(lambda: bound(graph(problems, edges=edges))) == [
        f"{PLACE}.lr: 'lr' of 'inner' reads 'rates' without an edge "
        "(add 'u2l: rates -> inner' to edges)"
    ]


def test_an_edge_that_neither_the_loss_nor_an_option_uses_is_refused():
    assert complaints(lambda: bound(learning({}))) == [
        "edges[0].u2l: the loss of 'inner' does not read 'rates' "
        "(give the loss an argument 'rates', or remove the edge)"
    ]


WRONG: dict[str, tuple[Callable[..., Any], str]] = {
    "no tensor": (
        lambda rates: 0.1,
        "expected a scalar tensor or a mapping by parameter, got 0.1",
    ),
    "a row": (
        lambda rates: rates().expand(3),
        "expected a scalar tensor or a mapping by parameter, got a tensor of shape (3,)",
    ),
    "a part": (lambda rates: {"head": rates()[0]}, "no value for the parameter 'tail'"),
    "a stranger": (
        lambda rates: {"head": rates()[0], "tial": rates()[0]},
        "no parameter 'tial' (did you mean 'tail'?)",
    ),
    "a shape": (
        lambda rates: {"head": rates()[0], "tail": rates().expand(2)},
        "shape (2,) for 'tail', which has (3,)",
    ),
    "a number in a mapping": (
        lambda rates: {"head": rates()[0], "tail": 0.1},
        "expected a tensor for 'tail', got 0.1",
    ),
    "infinity": (lambda rates: (rates()[0] * 1e9).exp(), "gives a value that is not finite"),
    "infinity in a mapping": (
        lambda rates: {"head": rates()[0], "tail": (rates()[0] * 1e9).exp()},
        "gives a value for 'tail' that is not finite",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_a_function_may_not_give(name: str):
    function, message = WRONG[name]
    assert failure(lambda: ran(learning({"lr": function}))) == f"{PLACE}.lr: {message}"


def test_a_momentum_for_each_parameter():
    inner = {"optimizer": {"_target_": "sgd", "lr": 0.1, "momentum": 0.9}}
    rates = {"module": Numbers(*RATES)}
    assert failure(lambda: ran(learning({"momentum": per_entry}, rates=rates, **inner))) == (
        f"{PLACE}.momentum: one momentum for all parameters can be given, no mapping"
    )


def test_a_function_that_fails_is_named():
    message = failure(lambda: ran(learning({"lr": lambda rates: rates()[7]})))
    assert message.startswith(f"{PLACE}.lr: IndexError")


# In the file, in the plan, and in a run.

FILE = """\
mlograph: 1
name: learned
problems:
  schedule:
    module: {_target_: mlograph.nn.Tensors, log_rates: [5]}
    optimizer: {_target_: adam, lr: 0.05}
    loss: beside.judged
  inner:
    module: {_target_: mlograph.nn.Tensors, x: [2]}
    optimizer: {_target_: sgd, lr: 0.01}
    hyperparameters:
      lr: {_target_: mlograph.rates.schedule, rates: schedule, scale: 0.01}
    loss: beside.slope
    unroll_steps: 5
    hypergradient: unroll
edges:
  - u2l: schedule -> inner
  - l2u: inner -> schedule
engine: {steps: 100, device: cpu}
"""

BESIDE = """\
def slope(inner):
    return ((inner()["x"] - 1) ** 2).sum()


judged = slope
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text(BESIDE)
    (tmp_path / "learned.yaml").write_text(FILE)
    return tmp_path / "learned.yaml"


def test_it_is_written_as_it_was_read(file: Path):
    written = mlograph.load(file).to_yaml()
    assert "hyperparameters:\n      lr: {_target_: mlograph.rates.schedule" in written
    again = file.with_name("again.yaml")
    again.write_text(written)
    assert mlograph.load(again).spec == mlograph.load(file).spec


def test_a_misspelt_option_is_told_where_it_stands(file: Path):
    file.write_text(FILE.replace("      lr:", "      weight_deacy:"))
    assert failure(lambda: mlograph.load(file).check()).startswith(
        f"{file}:12:7: problems.inner.hyperparameters.weight_deacy: unknown key "
        "(did you mean 'weight_decay'?)"
    )


def test_the_plan_tells_what_is_given(file: Path):
    text = mlograph.load(file).explain()
    assert "given        lr of inner: rates.schedule of schedule, before each update\n" in text
    assert "through inner by unroll: reverse mode through the recorded steps" in text


def test_the_plan_tells_which_methods_do_not_look_at_options():
    declared = learning({"lr": given}, hypergradient="cg", loss=coupled)
    assert [*approximations(declared.structure, declared.plan())] == [
        "cg through inner: lr is taken not to move its solution"
    ]


def from_the_start(problem: Any) -> None:
    for param, value in zip(problem.model.params.values(), (START[:1], START[1:]), strict=True):
        param.copy_(value)


def quadratic(inner: Any) -> Tensor:
    scales = torch.tensor([10.0, 3.0, 1.0, 0.3], dtype=torch.float64)
    return 0.5 * (scales * (inner() - TARGET).square()).sum()


def loss_after(steps: int, function: Callable[..., Tensor], *values: float) -> float:
    """The loss that five steps from START reach once their rates have been learned."""
    adam = {"_target_": "adam", "lr": 0.05}
    declared = learning(
        {"lr": function},
        rates={"module": Numbers(*values), "loss": quadratic, "optimizer": adam},
        loss=quadratic,
        data=None,
        unroll_steps=5,
        callbacks={"on_inner_loop_start": from_the_start},
    )
    problems = {name: dict(spec) for name, spec in declared.spec.problems.items()}
    run = graph(problems, edges=declared.spec.edges, steps=steps, engine={"log_every": 1})
    return float(run.run(quiet=True).last()["rates.loss"])


def test_a_learned_schedule_beats_the_best_fixed_rate():
    """As Chebyshev's does: long steps and short ones in turn serve all curvatures."""
    start = math.log(0.1)
    fixed = loss_after(60, lambda rates: rates()[0].exp(), start)
    # Not all alike: for a quadratic the order of the rates does not matter, so they would stay so.
    apart = [start + offset for offset in (-0.2, -0.1, 0.0, 0.1, 0.2)]
    row = loss_after(60, lambda rates, step: rates()[step % 5].exp(), *apart)
    assert row < 0.2 * fixed
