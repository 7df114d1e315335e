"""What instructions do: updates, accumulation, precision, callbacks, and numbers gone wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from builders import (
    Batch,
    Batches,
    bound,
    failure,
    graph,
    line,
    pair,
    points,
    problem,
    trained,
    weights,
)
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mlograph.errors import NumericError, UsageError
from mlograph.executor import Executor
from mlograph.losses import proximal
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.state import preserved
from mlograph.views import View

MSE = {"_target_": "mse", "model": "a"}
NAN = float("nan")


def alone(loss: object = MSE, *, steps: int = 1, engine: Any = None, **changes: Any) -> Any:
    """A graph of one problem `a` on some points."""
    spec = {"module": line(), "data": Batches(points()), **changes}
    return graph({"a": problem(spec.pop("module"), loss, **spec)}, steps=steps, engine=engine or {})


def fit(lower: View, upper: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1]) + proximal(lower, upper)


def judge(lower: View, batch: Batch) -> Tensor:
    return mse_loss(lower(batch[0]), batch[1])


def nested(steps: int = 1, engine: Any = None, upper: Any = None, **lower: Any) -> Any:
    """A bilevel graph whose lower problem stays near the upper one."""
    low: dict[str, Any] = {"data": Batches(points()), "hypergradient": "cg", **lower}
    high: dict[str, Any] = {"data": Batches(points(seed=2)), **(upper or {})}
    high = {"module": line(), "loss": judge, **high}
    low = {"module": line(seed=3), "loss": fit, **low}
    return pair(
        problem(high.pop("module"), high.pop("loss"), **high),
        problem(low.pop("module"), low.pop("loss"), **low),
        steps=steps,
        engine=engine or {},
    )


def close(left: list[Tensor], right: list[Tensor], atol: float = 1e-12) -> bool:
    return all(torch.allclose(a, b, rtol=0, atol=atol) for a, b in zip(left, right, strict=True))


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


EVERY_KIND = ["cg", "neumann", "darts", "unroll", "forward", "fixed_point", "exact"]


# --- Updates


@pytest.mark.parametrize("clipping", [None, 0.1])
def test_accumulated_batches_equal_one_large_batch(clipping: float | None):
    x, y = points(12)
    parts = Batches(*zip(x.split(3), y.split(3), strict=True))
    whole = trained(alone(data=Batches((x, y)), steps=3, gradient_clipping=clipping))
    pieces = trained(
        alone(data=parts, steps=3, gradient_accumulation=4, gradient_clipping=clipping)
    )
    assert close(weights(whole, "a"), weights(pieces, "a"))
    assert parts.read == 12


def test_accumulation_averages_hypergradients_too():
    x, y = points(8, seed=2)
    parts = Batches(*zip(x.split(4), y.split(4), strict=True))
    lower = {"optimizer": {"_target_": "sgd", "lr": 0.0}}
    whole = trained(nested(upper={"data": Batches((x, y))}, **lower))
    pieces = trained(nested(upper={"data": parts, "gradient_accumulation": 2}, **lower))
    assert close(weights(whole, "upper"), weights(pieces, "upper"))
    assert not same(weights(whole, "upper"), list(line().parameters()))


def test_the_gradient_is_clipped_as_torch_does():
    module = line()
    mse_loss(module(points()[0]), points()[1]).backward()
    before = nn.utils.clip_grad_norm_(module.parameters(), 0.1)
    assert before > 0.2
    torch.optim.SGD(module.parameters(), lr=0.1).step()
    result = trained(alone(gradient_clipping=0.1))
    assert close(weights(result, "a"), list(module.parameters()))
    assert result.last()["a.gradient_norm"] == pytest.approx(float(before))


def test_warm_up_comes_before_anything_above_moves():
    order: list[str] = []

    def note(problem: Problem) -> None:
        order.append(problem.name)

    hooks = {"callbacks": {"after_update": note}}
    trained(nested(steps=2, upper=hooks, warmup_steps=3, unroll_steps=2, **hooks))
    assert order == ["lower"] * 3 + ["lower", "lower", "upper"] * 2


def test_a_loss_knows_how_many_updates_were_made():
    seen: list[int] = []

    def loss(a: View, step: int) -> Tensor:
        seen.append(step)
        return proximal(a, a)

    trained(alone(loss, steps=3, gradient_accumulation=2))
    assert seen == [0, 0, 1, 1, 2, 2]


def test_a_list_of_losses_is_their_sum():
    def double(a: View, batch: Batch) -> Tensor:
        return 2 * judge(a, batch)

    triple = {"_target_": lambda a, batch: 3 * judge(a, batch)}
    assert close(weights(trained(alone([MSE, double])), "a"), weights(trained(alone(triple)), "a"))


# --- Optimiser state


def momentum_at_the_start(start_from: str | None) -> list[bool]:
    """Whether the lower optimiser has state when each of three inner loops begins."""
    found: list[bool] = []

    def note(problem: Problem) -> None:
        found.append(bool(problem.optimizer.state))

    declared = nested(
        steps=3,
        start_from=start_from,
        unroll_steps=2,
        optimizer={"_target_": "adam", "lr": 0.1},
        callbacks={"on_inner_loop_start": note},
    )
    trained(declared)
    return found


def test_a_restarted_loop_begins_with_a_fresh_optimiser():
    assert momentum_at_the_start("upper") == [False, False, False]


def test_a_loop_that_goes_on_keeps_its_optimiser():
    assert momentum_at_the_start(None) == [False, True, True]


def test_a_restarted_loop_begins_at_the_upper_weights():
    found: list[bool] = []

    def note(problem: Problem) -> None:
        upper = problem.others["upper"].params
        found.append(same(list(problem.model.params.values()), list(upper.values())))

    trained(nested(steps=3, start_from="upper", callbacks={"on_inner_loop_start": note}))
    assert found == [True, True, True]


def test_rates_that_a_callback_edits_stay_edited():
    def halve(problem: Problem) -> None:
        for group in problem.optimizer.param_groups:
            group["lr"] /= 2

    result = trained(alone(steps=3, callbacks={"after_update": halve}))
    assert result.last()["a.lr"] == 0.1 / 8


# --- What stays as it is


def layers() -> nn.Sequential:
    return nn.Sequential(line(3, 3, seed=1), nn.Tanh(), line(3, 1, seed=2))


@pytest.mark.parametrize("method", EVERY_KIND)
def test_frozen_parameters_never_move(method: str):
    lower, upper = layers(), layers()
    before = [p.clone() for p in (*lower[0].parameters(), upper[0].weight)]
    decay = {"optimizer": {"_target_": "sgd", "lr": 0.1, "weight_decay": 0.1}}
    declared = nested(
        steps=3,
        module=lower,
        freeze=["0.*"],
        hypergradient=method,
        upper={"module": upper, "freeze": ["0.weight"], **decay},
        **decay,
    )
    moving = [p.clone() for p in (*lower[2].parameters(), *upper[2].parameters())]
    trained(declared)
    assert same(before, [*lower[0].parameters(), upper[0].weight])
    assert all(p.grad is None for p in (*lower.parameters(), *upper.parameters()))
    now = [*lower[2].parameters(), *upper[2].parameters()]
    assert not any(torch.equal(a, b) for a, b in zip(moving, now, strict=True))


@pytest.mark.parametrize("method", EVERY_KIND)
def test_parameters_that_the_loss_does_not_use_are_left_alone(method: str):
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = line(), line(seed=4)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.used(x)
            return out

    def near(lower: View, upper: View, batch: Batch) -> Tensor:
        pairs = zip(lower.parameters()[:2], upper.parameters()[:2], strict=True)
        distance = torch.stack([(a - b).square().sum() for a, b in pairs]).sum()
        return judge(lower, batch) + distance

    decay = {"optimizer": {"_target_": "adamw", "lr": 0.1, "weight_decay": 0.5}}
    lower, upper = Spare(), Spare()
    declared = nested(
        steps=2,
        module=lower,
        loss=near,
        hypergradient=method,
        upper={"module": upper, **decay},
        **decay,
    )
    trained(declared)
    for module in (lower, upper):
        assert same(list(module.spare.parameters()), list(line(seed=4).parameters()))
        assert not same(list(module.used.parameters()), list(line().parameters()))


class Normed(nn.Module):
    """A line behind batch normalisation that keeps running statistics."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.line = nn.BatchNorm1d(3, dtype=torch.float64), line()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.line(self.norm(x))
        return out


@pytest.mark.parametrize("method", EVERY_KIND)
def test_running_statistics_are_changed_only_by_the_problems_own_steps(method: str):
    lower = Normed()
    alone_module = Normed()
    for _ in range(6):
        alone_module(points()[0])
    declared = nested(
        steps=3, module=lower, unroll_steps=2, hypergradient=method, upper={"module": Normed()}
    )
    trained(declared)
    assert int(lower.norm.num_batches_tracked) == 6
    assert torch.allclose(lower.norm.running_mean, alone_module.norm.running_mean)
    assert torch.allclose(lower.norm.running_var, alone_module.norm.running_var)


def test_an_upper_problem_keeps_its_statistics_where_its_module_is_not_called():
    upper = Normed()
    trained(nested(steps=2, module=Normed(), upper={"module": upper}))
    assert int(upper.norm.num_batches_tracked) == 0


# --- Precision


def test_float64_is_float64_throughout():
    seen: set[torch.dtype] = set()

    def loss(a: View, batch: Batch) -> Tensor:
        seen.update(t.dtype for t in (*batch, *a.parameters(), a(batch[0])))
        return judge(a, batch)

    single = tuple(t.float() for t in points())
    result = trained(alone(loss, module=nn.Linear(3, 1), data=Batches(single), steps=2))
    assert seen == {torch.float64}
    assert {p.dtype for p in result.modules["a"].parameters()} == {torch.float64}


SINGLE = Batches(tuple(t.float() for t in points()))


def half(a: View, batch: Batch) -> Tensor:
    return mse_loss(a(batch[0]).float(), batch[1])


def single_line() -> nn.Linear:
    return line().float()


def by_torch(dtype: torch.dtype, steps: int) -> list[Tensor]:
    """Weights after some steps of torch's own recipe for mixed precision."""
    module = single_line()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", enabled=dtype is torch.float16)
    (batch,) = SINGLE
    for _ in range(steps):
        optimizer.zero_grad()
        with torch.autocast("cpu", dtype):
            out = module(batch[0])
            assert out.dtype == dtype
            loss = mse_loss(out.float(), batch[1])
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
    return list(module.parameters())


@pytest.mark.parametrize(
    ("precision", "dtype"), [("bf16", torch.bfloat16), ("fp16", torch.float16)]
)
def test_mixed_precision_follows_torchs_recipe(precision: str, dtype: torch.dtype):
    options = {"module": single_line(), "data": SINGLE, "precision": precision}
    mixed = weights(trained(alone(half, steps=8, **options)), "a")
    assert all(p.dtype == torch.float32 for p in mixed)
    assert close(mixed, by_torch(dtype, 8), atol=1e-6)


def test_bf16_is_close_to_float32():
    def after(precision: str) -> list[Tensor]:
        options = {"module": single_line(), "data": SINGLE, "precision": precision}
        return weights(trained(alone(half, steps=8, **options)), "a")

    assert close(after("bf16"), after("float32"), atol=0.02)
    assert not same(after("bf16"), after("float32"))


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("method", ["cg", "darts"])
def test_hypergradients_flow_through_mixed_precision(precision: str, method: str):
    def moved(kind: str) -> list[Tensor]:
        torch.manual_seed(0)
        options = {"precision": kind, "data": SINGLE}
        declared = nested(
            steps=3,
            module={"copy": "upper"},
            start_from="upper",
            hypergradient=method,
            upper={"module": nn.Linear(3, 1), **options},
            **options,
        )
        return weights(trained(declared), "upper")

    assert close(moved(precision), moved("float32"), atol=0.03)


def test_an_overflow_in_fp16_is_skipped_and_the_scale_is_lowered():
    module = nn.Linear(3, 1)
    before = [p.detach().clone() for p in module.parameters()]

    def steep(a: View, batch: Batch) -> Tensor:
        return (a(batch[0]) * 3e3).float().square().mean()

    program = bound(alone(steep, module=module, data=SINGLE, precision="fp16"))
    executor = Executor(program)
    scaler = program.problems["a"].scaler
    assert scaler is not None
    scale = scaler.get_scale()
    executor.execute(program.plan.period[0])
    assert same(before, list(module.parameters()))
    assert scaler.get_scale() == scale / 2


# --- Callbacks


def test_callbacks_are_called_with_their_problem_and_their_arguments():
    calls: list[tuple[str, str, int, bool]] = []

    def note(problem: Problem, what: str) -> None:
        has_gradient = all(p.grad is not None for p in problem.model.params.values())
        calls.append((what, problem.name, problem.updates, has_gradient))

    hooks = {
        name: {"_target_": note, "what": name}
        for name in ("on_inner_loop_start", "on_gradient", "after_update")
    }
    trained(nested(unroll_steps=2, gradient_accumulation=2, callbacks=hooks))
    assert calls == [
        ("on_inner_loop_start", "lower", 0, False),
        ("on_gradient", "lower", 0, True),
        ("after_update", "lower", 1, False),
        ("on_gradient", "lower", 1, True),
        ("after_update", "lower", 2, False),
    ]


def test_a_callback_may_change_the_gradient():
    def nothing(problem: Problem) -> None:
        for param in problem.model.params.values():
            assert param.grad is not None
            param.grad.zero_()

    result = trained(alone(steps=2, callbacks={"on_gradient": nothing}))
    assert same(weights(result, "a"), list(line().parameters()))


def test_a_callback_may_change_the_parameters():
    def project(problem: Problem) -> None:
        for param in problem.model.params.values():
            param.clamp_(-0.01, 0.01)

    result = trained(alone(steps=2, callbacks={"after_update": project}))
    assert all(float(p.abs().max()) <= 0.01 for p in weights(result, "a"))


@pytest.mark.parametrize("hook", ["on_inner_loop_start", "on_gradient", "after_update"])
def test_a_callback_that_raises_names_the_users_line(hook: str):
    def fail(problem: Problem) -> None:
        raise ValueError("no such thing")

    message = failure(lambda: trained(nested(callbacks={hook: fail})))
    start = f"problems.lower.callbacks.{hook}: ValueError: no such thing (test_executor.py:"
    assert message.startswith(start)


# --- Losses that fail


def no_loss(a: View) -> dict[str, Tensor]:
    return {"accuracy": torch.ones(())}


def raising(a: View) -> Tensor:
    raise ValueError("bad shape")


def clashing(a: View, batch: Batch) -> Tensor:
    out: Tensor = a(torch.ones(2, 7, dtype=torch.float64))
    return out


def text_metric(a: View) -> dict[str, object]:
    return {"loss": proximal(a, a), "note": "good"}


def long_metric(a: View) -> dict[str, Tensor]:
    return {"loss": proximal(a, a), "each": torch.ones(3)}


def constant(a: View) -> Tensor:
    return torch.ones(())


def damaged(a: View, batch: Batch) -> Tensor:
    """Fails only when it is differentiated."""
    out = a(batch[0]).exp()
    loss = out.sum()
    out.detach().add_(1)
    return loss


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (raising, ".loss: ValueError: bad shape (test_executor.py:"),
        (
            clashing,
            ".loss: RuntimeError: mat1 and mat2 shapes cannot be multiplied (2x7 and 3x1) (t",
        ),
        (
            lambda a: a(torch.ones(2, 3).double()),
            ".loss: expected a scalar tensor, got a tensor of s",
        ),
        (lambda a: 3.0, ".loss: expected a scalar tensor, got a float"),
        (lambda a: None, ".loss: expected a scalar tensor, got None"),
        (no_loss, ".loss: the loss returned no 'loss'"),
        (text_metric, ".loss: expected a number for the metric 'note', got a str"),
        (long_metric, ".loss: expected a number for the metric 'each', got a tensor of shape (3,)"),
        (constant, ".loss: the loss does not depend on the parameters of 'a', directly or through"),
        (damaged, ": RuntimeError: one of the variables needed for gradient computation has been"),
    ],
)
def test_a_loss_that_fails_is_told_without_a_traceback(loss: Any, message: str):
    with pytest.raises(UsageError) as caught:
        trained(alone(loss))
    assert str(caught.value).startswith(f"problems.a{message}")


def test_metrics_may_be_tensors_or_numbers():
    def loss(a: View) -> dict[str, object]:
        return {"loss": proximal(a, a, 0.0), "one": 1, "two": torch.tensor([2.0])}

    values = trained(alone(loss)).last()
    assert (values["a.one"], values["a.two"], values["a.loss"]) == (1.0, 2.0, 0.0)


def test_an_env_that_raises_names_the_users_line():
    class Broken:
        batches = ("x",)

        def step(self) -> dict[str, Any]:
            raise OSError("disk is gone")

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: Any) -> None: ...

    declared = graph({"a": problem(line(), MSE, data="env.x")}, env=Broken)
    message = failure(lambda: trained(declared))
    assert message.startswith("env: OSError: disk is gone (test_executor.py:")


# --- Numbers that are not finite


class Trap:
    """A loss that gives bad numbers at its `at`-th evaluation, and only then."""

    def __init__(self, at: int, how: str) -> None:
        self.at, self.how, self.seen = at, how, 0

    def __call__(self, a: View, batch: Batch) -> Tensor:
        self.seen += 1
        loss = judge(a, batch)
        if self.seen != self.at:
            return loss
        if self.how == "loss":
            return loss * NAN
        # The root has a slope of infinity at zero, times zero.
        return loss + (0.0 * a.parameters()[1].sum()).abs().sqrt()


def trap(at: int, how: str) -> Callable[..., Tensor]:
    caught = Trap(at, how)

    def loss(a: View, batch: Batch) -> Tensor:
        return caught(a, batch)

    return loss


@pytest.mark.parametrize(
    ("how", "what"), [("loss", "the loss"), ("gradient", "the gradient of 'bias'")]
)
def test_a_run_stops_before_a_bad_number_reaches_a_parameter(how: str, what: str):
    module, twin = line(), line()
    trained(alone(module=twin, steps=2))
    with pytest.raises(NumericError) as caught:
        trained(alone(trap(3, how), module=module, steps=9))
    assert str(caught.value) == (
        f"problems.a: {what} is not finite at update 3; no parameter was changed "
        "(engine.on_nonfinite: skip goes on without the update)"
    )
    assert same(list(module.parameters()), list(twin.parameters()))


def test_a_bad_hypergradient_stops_the_run_before_the_upper_update():
    class Root(torch.autograd.Function):
        """x, with a gradient of NaN."""

        @staticmethod
        def forward(ctx: Any, x: Tensor) -> Tensor:
            return x.clone()

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> Tensor:
            return grad * NAN

    def poisoned(lower: View, batch: Batch) -> Tensor:
        loss: Tensor = Root.apply(judge(lower, batch))
        return loss

    module = line()
    with pytest.raises(NumericError) as caught:
        trained(nested(upper={"module": module, "loss": poisoned}))
    assert str(caught.value).startswith(
        "problems.upper: the hypergradient of 'weight' is not finite at update 1; no parameter"
    )
    assert same(list(module.parameters()), list(line().parameters()))


@pytest.mark.parametrize("how", ["loss", "gradient"])
def test_a_skipped_update_is_dropped_and_counted(how: str):
    module, twin = line(), line()
    trained(alone(module=twin, steps=4))
    result = trained(alone(trap(3, how), module=module, steps=5, engine={"on_nonfinite": "skip"}))
    assert same(list(module.parameters()), list(twin.parameters()))
    (event,) = [record for record in result.records if record.kind == "event"]
    assert event.text == "1 updates skipped: values that are not finite"
    assert result.steps == 5


def test_one_bad_pass_drops_its_whole_update_and_no_other():
    x, y = points()
    twin = line()
    trained(alone(module=twin, steps=2))
    module = line()
    declared = alone(
        trap(2, "loss"),
        module=module,
        data=Batches((x, y)),
        gradient_accumulation=2,
        steps=3,
        engine={"on_nonfinite": "skip"},
    )
    trained(declared)
    assert close(list(module.parameters()), list(twin.parameters()))


@pytest.mark.parametrize("bad", [1, 2])
def test_a_bad_step_of_an_unrolled_loop_is_skipped(bad: int):
    passes: list[int] = []

    def once_bad(lower: View, upper: View, batch: Batch) -> Tensor:
        passes.append(1)
        return fit(lower, upper, batch) * (NAN if len(passes) == bad else 1.0)

    def after(loss: Any, unroll: int) -> list[Tensor]:
        declared = nested(
            loss=loss,
            unroll_steps=unroll,
            gradient_accumulation=2,
            hypergradient="unroll",
            start_from="upper",
            engine={"on_nonfinite": "skip"},
        )
        return weights(trained(declared), "upper")

    assert close(after(once_bad, 3), after(fit, 2))


# --- Method and executor together


def test_a_hypergradient_that_nobody_can_send_stops_the_run():
    def silent(upper: View, lower: View, batch: Batch) -> Tensor:
        return judge(lower, batch) + 0.0 * upper.parameters()[0].detach().sum()

    def deaf(lower: View, upper: View, batch: Batch) -> Tensor:
        return judge(lower, batch) + proximal(upper, upper, 0.0)

    message = failure(lambda: trained(nested(loss=deaf, upper={"loss": silent})))
    assert "the edge 'upper -> lower' has no effect" in message


def test_solver_residuals_are_measured():
    values = trained(nested(hypergradient={"method": "cg", "iterations": 2})).last()
    assert values["lower.products"] == 2.0
    assert 0.0 < values["lower.residual"] < 1.0


def test_what_runs_aside_is_not_measured_counted_or_remembered():
    options = {"method": "cg", "warm_start": True}
    program: Program = bound(nested(hypergradient=options, unroll_steps=2))
    executor = Executor(program)
    for instruction in program.plan.period:
        executor.execute(instruction)
    means = {name: meter.flush() for name, meter in executor.meters.items()}
    assert not math.isnan(means["lower"]["loss"])
    with executor.aside("nobody"):
        for instruction in program.plan.period:
            executor.execute(instruction)
        assert executor.meters["lower"].flush()
        executor.skipped["lower"] += 1
    assert all(meter.flush() == {} for meter in executor.meters.values())
    assert executor.skipped == {"upper": 0, "lower": 0}


def test_a_warm_start_does_not_remember_what_ran_aside():
    def after(*, disturbed: bool) -> list[Tensor]:
        options = {"method": "cg", "iterations": 1, "warm_start": True}
        program = bound(nested(hypergradient=options))
        executor = Executor(program)
        for _ in range(2):
            for instruction in program.plan.period:
                executor.execute(instruction)
            if disturbed:
                with preserved(program.problems.values()), executor.aside("nobody"):
                    for instruction in program.plan.period * 3:
                        executor.execute(instruction)
        return list(program.problems["upper"].model.params.values())

    assert same(after(disturbed=True), after(disturbed=False))
