"""Bad numbers reach no parameter, buffer or optimiser state, wherever they begin."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from builders import Batch, Batches, bound, graph, line, pair, points, problem
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils._python_dispatch import TorchDispatchMode

from mlograph.errors import NumericError
from mlograph.executor import Executor
from mlograph.losses import proximal
from mlograph.nonfinite import Numbers, Vetted
from mlograph.plan import Step
from mlograph.program import Program
from mlograph.views import View

NAN, INF = float("nan"), float("inf")
ADAM = {"_target_": "adam", "lr": 0.1}


class Root(torch.autograd.Function):
    """x, with a gradient of NaN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return grad * NAN


def fit(lower: View, upper: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1]) + proximal(lower, upper)


def judge(lower: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1])


def normed() -> nn.Module:
    """A module whose every call moves running statistics."""
    return nn.Sequential(nn.BatchNorm1d(3), nn.Linear(3, 1)).double()


def batches(bad: int | None = None, value: float = NAN) -> Batches:
    """Four batches, of which one has one bad target."""
    x, y = points(16)
    y = y.clone()
    if bad is not None:
        y[4 * bad] = value
    return Batches(*zip(x.split(4), y.split(4), strict=True))


def spoilt(loss: Callable[..., Tensor], how: str) -> Callable[..., Tensor]:
    """A loss of `lower` whose value or gradient is bad when it is evaluated for the third step."""
    seen: list[int] = []

    def worse(value: Tensor, step: int) -> Tensor:
        if step != 2 or seen:
            return value
        seen.append(step)
        return value * INF if how == "loss" else Root.apply(value)  # type: ignore[no-any-return]

    def with_upper(lower: View, upper: View, batch: Batch, step: int) -> Tensor:
        return worse(loss(lower, upper, batch), step)

    def alone(lower: View, batch: Batch, step: int) -> Tensor:
        return worse(loss(lower, batch), step)

    return with_upper if loss is fit else alone


def bilevel(where: str, how: str, policy: str, method: str = "cg") -> Program:
    """Four steps of a nested graph; something goes wrong in the third at the level `where`."""
    data = {"lower": batches(), "upper": batches()}
    losses: dict[str, Callable[..., Tensor]] = {"lower": fit, "upper": judge}
    if how == "batch":
        data[where] = batches(bad=2)
    else:
        losses[where] = spoilt(losses[where], how)
    torch.manual_seed(0)
    common = {"optimizer": ADAM}
    return bound(
        pair(
            problem(normed(), losses["upper"], data=data["upper"], **common),
            problem(normed(), losses["lower"], data=data["lower"], hypergradient=method, **common),
            engine={"on_nonfinite": policy},
        )
    )


def state(program: Program) -> Mapping[str, Any]:
    """Everything of a problem that an update may change."""
    return {
        name: (
            {n: x.detach().clone() for n, x in one.model.tensors().items()},
            copy.deepcopy(one.optimizer.state_dict()["state"]),
        )
        for name, one in program.problems.items()
    }


def same(left: Any, right: Any) -> bool:
    match left, right:
        case Tensor(), Tensor():
            return torch.equal(left, right)
        case dict(), dict():
            return left.keys() == right.keys() and all(same(left[k], right[k]) for k in left)
        case tuple(), tuple():
            return all(map(same, left, right))
        case _:
            return bool(left == right)


WRONG = [
    ("lower", "batch", "'batch[1]'"),
    ("lower", "loss", "the loss"),
    ("lower", "gradient", "the gradient of '1.weight'"),
    ("upper", "batch", "'batch[1]'"),
    ("upper", "loss", "the loss"),
    ("upper", "gradient", "the hypergradient of '0.weight'"),
]


@pytest.mark.parametrize("method", ["cg", "unroll", "darts"])
@pytest.mark.parametrize(("where", "how", "what"), WRONG)
def test_a_run_stops_with_problem_tensor_and_step_and_nothing_has_changed(
    where: str, how: str, what: str, method: str
):
    program = bilevel(where, how, "stop", method)
    executor = Executor(program)
    with pytest.raises(NumericError) as caught:
        for instruction in program.plan.period * 4:
            before = state(program)
            executor.execute(instruction)
    message = str(caught.value)
    assert message.startswith(f"problems.{where}: ")
    assert "is not finite at update 3; no parameter was changed" in message
    assert (what if how != "gradient" else what.split(" of ", maxsplit=1)[0]) in message
    assert same(state(program), before)
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(("where", "how"), [(where, how) for where, how, _ in WRONG])
def test_a_skipped_pass_leaves_no_trace_and_is_counted(where: str, how: str):
    program = bilevel(where, how, "skip")
    executor = Executor(program)
    for step in range(4):
        for instruction in program.plan.period:
            before = state(program)
            executor.execute(instruction)
            if instruction == Step(where):
                assert same(state(program)[where], before[where]) == (step == 2)
    # An answer to a bad batch is no answer, so the upper problem's pass is dropped as well.
    follows = (where, how) == ("lower", "batch")
    assert executor.skipped == {
        "upper": int(where == "upper" or follows),
        "lower": int(where == "lower"),
    }
    means = executor.meters[where].flush()
    assert means["skipped"] == 1
    assert torch.tensor(list(means.values())).isfinite().all()


def test_a_batch_that_reaches_no_loss_stops_the_run_as_well():
    def careless(a: View, batch: Batch) -> Tensor:
        return mse_loss(a(batch[0]), batch[1].nan_to_num())

    program = bound(graph({"a": problem(line(), careless, data=batches(bad=0))}))
    with pytest.raises(NumericError, match=r"'batch\[1\]' is not finite"):
        Executor(program).execute(Step("a"))


def test_a_batch_that_changed_in_place_is_looked_at_again():
    vetted, x = Vetted(), torch.ones(3)
    assert not vetted.knows("a", x)
    vetted.add("a", x)
    assert vetted.knows("a", x) and not vetted.knows("b", x) and not vetted.knows("a", x.clone())
    x[1] = NAN
    assert not vetted.knows("a", x)


@pytest.mark.parametrize("value", [NAN, INF, -INF])
def test_every_floating_tensor_of_a_batch_is_looked_at(value: float):
    good, bad = torch.ones(3), torch.tensor([1.0, value])
    whole = torch.tensor([1, 2])
    assert Numbers({"x": [good, whole], "y": bad}).culprit() == "'batch['y']'"
    assert Numbers([good, {"mask": whole, "n": 3, "t": "text"}, None]).culprit() is None
    assert Numbers(torch.view_as_complex(bad[None])).culprit() == "'batch'"


def test_what_overflows_only_in_a_sum_is_finite():
    large = torch.full((4,), 3e38)
    assert Numbers(large, large[0], {"w": large}).culprit() is None
    assert Numbers(large, large.sum()).culprit() == "the loss"
    assert Numbers(None).culprit() is None


def test_an_error_that_a_bad_number_led_to_is_told_as_that_number():
    def strict(a: View, batch: Batch) -> Tensor:
        if not batch[1].isfinite().all():
            raise ValueError("expected finite targets")
        return mse_loss(a(batch[0]), batch[1])

    program = bound(graph({"a": problem(line(), strict, data=batches(bad=0))}))
    with pytest.raises(NumericError, match=r"problems\.a: 'batch\[1\]' is not finite at update 1"):
        Executor(program).execute(program.plan.period[0])


class Waits(TorchDispatchMode):
    """Counts how often the device is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


@contextmanager
def waits() -> Any:
    with Waits() as counted:
        yield counted


def test_a_step_waits_for_the_device_once():
    sgd = {"_target_": "sgd", "lr": 0.1, "momentum": 0.9}

    def loss(a: View, batch: Batch) -> Tensor:
        return mse_loss(a(batch[0]), batch[1])

    program = bound(graph({"a": problem(normed(), loss, data=batches(), optimizer=sgd)}))
    executor = Executor(program)
    executor.execute(program.plan.period[0])
    with waits() as counted:
        executor.execute(program.plan.period[0])
    assert counted.count == 1
