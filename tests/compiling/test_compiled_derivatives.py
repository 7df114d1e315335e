"""What is compiled gives the numbers that it stands for."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from builders import Batches, failure, points
from compiled_graphs import (
    alone,
    assert_same,
    implicit_maml,
    penalties,
    reweighting,
    stepped,
    traced,
)
from torch import nn

from mlograph.program import Program

CG = {"method": "cg", "iterations": 3}
NEUMANN = {"method": "neumann", "iterations": 3, "alpha": 0.05}


def kinds(compiling: Any) -> dict[str, set[str]]:
    """What was compiled of each problem."""
    return {
        name: {key.split()[0] for key, choice in one.choices.items() if choice.way == "compiled"}
        for name, one in compiling.shortcuts.items()
    }


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("declared", "lower"),
    [
        pytest.param(lambda: reweighting("darts"), {"gradient"}, id="reweight darts"),
        pytest.param(penalties, {"gradient", "products"}, id="hpo cg"),
        pytest.param(
            lambda: implicit_maml(CG), {"gradient", "products"}, id="imaml cg", marks=SLOW
        ),
        pytest.param(lambda: reweighting("sama"), {"gradient"}, id="sama", marks=SLOW),
        pytest.param(
            lambda: implicit_maml(NEUMANN), {"gradient", "products"}, id="neumann", marks=SLOW
        ),
        pytest.param(lambda: implicit_maml("darts"), {"gradient"}, id="imaml darts", marks=SLOW),
    ],
)
def test_compiled_and_plain_runs_agree(declared: Any, lower: set[str]):
    plain, _ = stepped(declared())
    compiled, compiling = stepped(declared(), "on")
    assert kinds(compiling) == {"upper": {"gradient"}, "lower": lower}
    assert_same(compiled, plain)


def sqrt(**options: Any) -> dict[str, Any]:
    return {"method": "unroll", "checkpoint": "sqrt", **options}


@pytest.mark.parametrize(
    ("method", "lower"),
    [
        pytest.param("unroll", {"recorded"}, id="unroll"),
        pytest.param(sqrt(), {"gradient", "recorded"}, id="replayed", marks=SLOW),
        pytest.param(sqrt(truncate=1), {"gradient", "recorded"}, id="truncated", marks=SLOW),
        pytest.param("es", {"gradient"}, id="es", marks=SLOW),
        pytest.param("reptile", {"gradient"}, id="reptile", marks=SLOW),
        pytest.param("fixed_point", {"gradient", "recorded"}, id="fixed point", marks=SLOW),
    ],
)
def test_recorded_steps_are_compiled_with_the_way_back_through_them(method: Any, lower: set[str]):
    plain, _ = stepped(implicit_maml(method))
    compiled, compiling = stepped(implicit_maml(method), "on")
    assert kinds(compiling) == {"upper": {"gradient"}, "lower": lower}
    assert_same(compiled, plain)


@SLOW
def test_steps_with_momentum_and_clipping_are_compiled_but_for_the_update():
    """A product through torch's update meets one through the compiled gradient."""
    sgd = {"_target_": "sgd", "lr": 0.1, "momentum": 0.9}
    rest = {"optimizer": sgd, "gradient_clipping": 0.5, "gradient_accumulation": 2}
    plain, _ = stepped(reweighting("unroll", **rest))
    compiled, compiling = stepped(reweighting("unroll", **rest), "on")
    assert "recorded" in kinds(compiling)["lower"]
    assert_same(compiled, plain)


def test_what_forward_mode_records_is_left_to_autograd():
    """It takes derivatives of products, which a compiled gradient does not have."""
    plain, _ = stepped(reweighting("forward"), periods=1)
    compiled, compiling = stepped(reweighting("forward"), "on", periods=1)
    assert kinds(compiling)["lower"] == set()
    assert_same(compiled, plain, tolerance=1e-12)


def deaf(lower: Any, upper: Any, batch: Any) -> torch.Tensor:
    """Looks at `upper` in a way that no gradient by `lower` depends on."""
    x, labels = batch
    looked = sum(p.sum() for p in upper.parameters())
    return nn.functional.cross_entropy(lower(x), labels) + looked


def test_a_compiled_step_does_not_hide_that_an_edge_has_no_effect():
    """It gives zeros where autograd would give nothing."""
    message = failure(lambda: stepped(reweighting("unroll", loss=deaf), "on", periods=1))
    assert "the edge 'upper -> lower' has no effect" in message


@SLOW
def test_batches_of_another_size_are_a_region_of_their_own_and_compiled_once():
    counted: list[int] = []

    def counting(graph: Any, example: Any) -> Any:
        counted.append(1)
        return traced(graph, example)

    _, compiling = stepped(reweighting("darts"), "on", counting, periods=6)
    gradients = [key for key in compiling.shortcuts["lower"].choices if "by ['lower']" in key]
    assert len(gradients) == 2 and "12×4" in gradients[0] and "7×4" in gradients[1]
    assert len(counted) == sum(len(one.choices) for one in compiling.shortcuts.values())


def test_batches_of_ever_other_sizes_are_evaluated_as_they_are():
    x, labels = points(9, 4)[0], torch.arange(9) % 3
    sizes = Batches(*((x[:n], labels[:n]) for n in (9, 8, 7, 6, 5, 4)))
    declared = alone(data=sizes)
    _, compiling = stepped(declared, "on", periods=6)
    ways = [choice.way for choice in compiling.shortcuts["lower"].choices.values()]
    assert ways == ["compiled"] * 3 + ["plain"] * 3


def asking(lower: Any, batch: Any, step: int) -> torch.Tensor:
    x, labels = batch
    return nn.functional.cross_entropy(lower(x), labels) / (step + 1)


class Dropped(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 3), nn.Dropout(0.5))


def test_a_loss_that_draws_random_numbers_is_not_compiled():
    message = failure(lambda: stepped(alone(Dropped()), "on"))
    assert message == (
        "engine.execution.compile: the gradient of 'lower' cannot be compiled: the loss draws "
        "random numbers, which would be others (write auto or off)"
    )


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"precision": "bf16"}, "in bf16, fused operations would round differently"),
        ({"loss": asking}, "the loss asks for its step"),
    ],
)
def test_what_cannot_be_compiled_is_told(changes: dict[str, Any], reason: str):
    message = failure(lambda: stepped(alone(**changes), "on"))
    assert reason in message and message.endswith("(write auto or off)")


def wrong(graph: Any, example: Any) -> Any:
    """A compiler with a mistake."""
    made = traced(graph, example)

    def run(*inputs: Any) -> Any:
        return tuple(x * 1.01 if isinstance(x, torch.Tensor) else x for x in made(*inputs))

    return run


def test_a_compiler_that_is_wrong_is_found_out():
    message = failure(lambda: stepped(alone(), "on", wrong))
    assert "the gradient of 'lower' cannot be compiled: compiled, it gives other numbers" in message


class Scaled(nn.Linear):
    """Depends on a Python number."""

    scale = 1.0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * self.scale


def grow(program: Program) -> None:
    module = program.problems["lower"].model.module
    assert isinstance(module, Scaled)
    module.scale += 1.0


def test_a_python_number_that_changes_is_noticed():
    """It is compiled anew, not used as it was; without end it would not be."""
    module = Scaled(4, 3)
    plain, compiled = (alone(copy.deepcopy(module)) for _ in range(2))
    expected, _ = stepped(plain, periods=2, after=grow)
    found, _ = stepped(compiled, "on", periods=2, after=grow)
    assert_same(found, expected)
    message = failure(lambda: stepped(compiled, "on", periods=3, after=grow))
    assert "what it does depends on Python values that change" in message


@SLOW
def test_a_changed_flag_of_a_module_is_noticed():
    """Evaluation mode in the midst of a run: what was compiled for training is not used."""

    def evaluate(program: Program) -> None:
        program.problems["lower"].model.module.eval()

    plain, _ = stepped(implicit_maml(CG), after=evaluate)
    compiled, compiling = stepped(implicit_maml(CG), "on", after=evaluate)
    assert_same(compiled, plain)
    assert any("[False" in key for key in compiling.shortcuts["lower"].choices)


class Idle(nn.Linear):
    """Has a parameter that its output does not depend on."""

    def __init__(self) -> None:
        super().__init__(4, 3)
        self.idle = nn.Parameter(torch.ones(2))


def test_a_parameter_that_the_loss_never_touches_has_no_gradient():
    """None, not one of zeros."""
    program, compiling = stepped(alone(Idle()), "on", periods=1)
    assert kinds(compiling) == {"lower": {"gradient"}}
    lower = program.problems["lower"]
    assert lower.moment is not None
    wanted = {"lower": lower.model.params}
    _, slopes = lower.slopes(lower.views(), lower.moment, wanted)
    assert slopes["lower"].keys() == {"weight", "bias"}


def test_what_a_compiled_gradient_does_not_have_autograd_gives():
    """Derivatives of products, and which parameters are not read at all."""
    program, _ = stepped(penalties(), "on", periods=1)
    lower = program.problems["lower"]
    assert lower.moment is not None
    residual = lower.residual(lower.moment)
    assert residual.again is not None
    direction = {name: torch.ones_like(x) for name, x in residual.params.items()}
    forwards, backwards = residual.jvp(direction), residual.vjp(direction)
    for name, x in backwards.items():
        torch.testing.assert_close(forwards[name], x, rtol=1e-9, atol=1e-12)
    assert residual.reaches("upper", residual.params)
    assert not residual.reaches("upper", [])
