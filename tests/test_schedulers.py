"""Learning rates follow torch's own schedulers, whichever it is."""

from __future__ import annotations

import inspect
import io
from collections.abc import Callable
from typing import Any

import pytest
import torch
from builders import Batches, bound, failure, graph, line, pair, points, problem, trained
from torch import Tensor, nn
from torch.optim import SGD, Optimizer, lr_scheduler
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from mlograph.executor import Executor
from mlograph.losses import proximal
from mlograph.schedulers import Constant, Scheduled
from mlograph.views import View

PART = "torch.optim.lr_scheduler."
UPDATES = 12

# Every scheduler of torch that a graph file can name, with its arguments.
COMPONENTS: dict[str, dict[str, Any]] = {
    "ChainedScheduler": {
        "schedulers": [
            {"_target_": PART + "ExponentialLR", "gamma": 0.9},
            {"_target_": PART + "ConstantLR", "total_iters": 4},
        ]
    },
    "ConstantLR": {"total_iters": 3},
    "CosineAnnealingLR": {"T_max": 5},
    "CosineAnnealingWarmRestarts": {"T_0": 4},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.2, "step_size_up": 3},
    "ExponentialLR": {"gamma": 0.8},
    "LinearLR": {"total_iters": 4},
    "MultiStepLR": {"milestones": [2, 5]},
    "OneCycleLR": {"max_lr": 0.5, "total_steps": UPDATES + 1},
    "PolynomialLR": {"total_iters": 6},
    "ReduceLROnPlateau": {"patience": 1},
    "SequentialLR": {
        "schedulers": [
            {"_target_": PART + "LinearLR", "total_iters": 3},
            {"_target_": PART + "ExponentialLR", "gamma": 0.7},
        ],
        "milestones": [3],
    },
    "StepLR": {"step_size": 2},
}

# Those that want functions are made in Python.
LIVE: dict[str, Callable[[Optimizer], LRScheduler]] = {
    "LambdaLR": lambda opt: lr_scheduler.LambdaLR(opt, lambda n: 1 / (n + 1)),
    "MultiplicativeLR": lambda opt: lr_scheduler.MultiplicativeLR(opt, lambda n: 0.9),
    "SequentialLR": lambda opt: lr_scheduler.SequentialLR(
        opt, [lr_scheduler.LinearLR(opt), lr_scheduler.StepLR(opt, 2)], [4]
    ),
    "SWALR": lambda opt: torch.optim.swa_utils.SWALR(opt, swa_lr=0.01, anneal_epochs=4),
}


def level(a: View, batch: Tensor) -> Tensor:
    """A loss that falls, and stays where it is after the fourth batch."""
    return batch + 0.0 * torch.stack([p.sum() for p in a.parameters()]).sum()


def falling() -> Batches:
    return Batches(*(torch.tensor(max(5.0 - n, 1.0)) for n in range(UPDATES)))


def component(name: str) -> dict[str, Any]:
    return {"_target_": PART + name, **COMPONENTS[name]}


def momentum() -> dict[str, Any]:
    """CyclicLR and OneCycleLR move the momentum too."""
    return {"_target_": SGD, "lr": 0.1, "momentum": 0.9}


def followed(scheduler: object, optimizer: object, module: nn.Module) -> list[tuple[float, float]]:
    """Rate and momentum after each update of a run."""
    spec = problem(module, level, optimizer=optimizer, scheduler=scheduler, data=falling())
    program = bound(graph({"a": spec}, steps=UPDATES))
    executor, found = Executor(program), []
    for _ in range(UPDATES):
        executor.execute(program.plan.period[0])
        (group,) = program.problems["a"].optimizer.param_groups
        found.append((float(group["lr"]), float(group["momentum"])))
    return found


def torchs(make: Callable[[Optimizer], LRScheduler]) -> list[tuple[float, float]]:
    """The same, by torch alone."""
    optimizer = SGD(line().parameters(), lr=0.1, momentum=0.9)
    scheduler, found = make(optimizer), []
    for batch in falling():
        optimizer.step()
        if isinstance(scheduler, ReduceLROnPlateau):
            scheduler.step(float(batch))
        else:
            scheduler.step()
        (group,) = optimizer.param_groups
        found.append((float(group["lr"]), float(group["momentum"])))
    return found


def plainly(name: str) -> Callable[[Optimizer], LRScheduler]:
    """The scheduler `name` as a script would make it."""

    def make(optimizer: Optimizer, spec: dict[str, Any] | None = None) -> LRScheduler:
        arguments = dict(spec or component(name))
        kind = getattr(lr_scheduler, arguments.pop("_target_").removeprefix(PART))
        if "schedulers" in arguments:
            arguments["schedulers"] = [make(optimizer, one) for one in arguments["schedulers"]]
        return kind(optimizer=optimizer, **arguments)

    return make


def scheduled(name: str) -> tuple[SGD, Scheduled]:
    """An optimiser and its schedule."""
    make = LIVE[name] if name in LIVE else plainly(name)
    optimizer = SGD(line().parameters(), lr=0.1, momentum=0.9)
    return optimizer, Scheduled(make(optimizer), optimizer, "a")


def test_every_scheduler_of_torch_is_tried():
    kinds = {
        name
        for name, kind in inspect.getmembers(lr_scheduler, inspect.isclass)
        if issubclass(kind, LRScheduler) and not name.startswith("_")
    }
    assert kinds - {"LRScheduler"} <= COMPONENTS.keys() | LIVE.keys()


@pytest.mark.parametrize("name", COMPONENTS)
def test_a_named_scheduler_moves_the_rate_as_torch_does(name: str):
    ours = followed(component(name), momentum(), line())
    assert ours == torchs(plainly(name))
    assert len(set(ours)) > 1


@pytest.mark.parametrize("name", LIVE)
def test_a_live_scheduler_moves_the_rate_as_torch_does(name: str):
    module = line()
    optimizer = SGD(module.parameters(), lr=0.1, momentum=0.9)
    ours = followed(LIVE[name](optimizer), optimizer, module)
    assert ours == torchs(LIVE[name])
    assert len(set(ours)) > 1


@pytest.mark.parametrize("name", [*COMPONENTS, *LIVE])
def test_a_restarted_schedule_begins_anew(name: str):
    optimizer, rate = scheduled(name)
    loops = []
    for _ in range(3):
        rate.restart()
        loop = []
        for loss in (3.0, 3.0, 3.0, 3.0, 3.0):
            optimizer.step()
            rate.step(loss)
            loop.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        loops.append(loop)
    assert loops[0] == loops[1] == loops[2]


@pytest.mark.parametrize("name", [*COMPONENTS, *LIVE])
def test_a_schedule_goes_on_from_its_saved_state(name: str):
    optimizer, rate = scheduled(name)
    for _ in range(3):
        optimizer.step()
        rate.step(2.0)
    file = io.BytesIO()
    torch.save((rate.state_dict(), optimizer.state_dict()), file)
    file.seek(0)
    schedule, state = torch.load(file, weights_only=True)
    other, resumed = scheduled(name)
    resumed.load_state_dict(schedule)
    other.load_state_dict(state)
    for _ in range(4):
        for one, its in ((optimizer, rate), (other, resumed)):
            one.step()
            its.step(2.0)
        assert optimizer.param_groups[0]["lr"] == other.param_groups[0]["lr"]


def test_a_schedule_that_is_over_stops_the_run_with_a_reason():
    over = {"_target_": "onecycle", "max_lr": 0.5, "total_steps": 3}
    spec = problem(line(), level, scheduler=over, data=falling())
    message = failure(lambda: trained(graph({"a": spec}, steps=9)))
    assert message.startswith("problems.a.scheduler: Tried to step 4 times")


def test_without_a_scheduler_edited_rates_stay():
    optimizer = SGD(line().parameters(), lr=0.1)
    rate = Constant()
    optimizer.param_groups[0]["lr"] = 0.7
    rate.step(1.0)
    rate.restart()
    assert optimizer.param_groups[0]["lr"] == 0.7
    assert rate.state_dict() == {}


# --- Schedules of inner loops


def upper_loss(lower: View, batch: tuple[Tensor, Tensor]) -> Tensor:
    return nn.functional.mse_loss(lower(batch[0]), batch[1])


def lower_loss(lower: View, upper: View, batch: tuple[Tensor, Tensor]) -> Tensor:
    x, y = batch
    return nn.functional.mse_loss(lower(x), y) + proximal(lower, upper)


def rates_of_the_lower(start_from: str | None, method: str) -> list[float]:
    """The lower rate after each lower update, for three loops of three steps."""
    found: list[float] = []

    def note(problem: Any) -> None:
        found.append(problem.optimizer.param_groups[0]["lr"])

    hook = "on_gradient" if method != "unroll" else "on_inner_loop_start"
    lower = problem(
        {"copy": "upper"},
        lower_loss,
        scheduler={"_target_": "exponential", "gamma": 0.5},
        start_from=start_from,
        data=Batches(points()),
        unroll_steps=3,
        hypergradient=method,
        callbacks={hook: note},
    )
    trained(pair(problem(line(), upper_loss, data=Batches(points(seed=2))), lower, steps=3))
    return found


def test_the_schedule_of_a_restarted_loop_restarts_with_it():
    assert rates_of_the_lower("upper", "cg") == [0.1, 0.05, 0.025] * 3


def test_the_schedule_of_an_unrolled_loop_restarts_with_it():
    assert rates_of_the_lower("upper", "unroll") == [0.1] * 3


def test_the_schedule_of_a_loop_that_goes_on_goes_on():
    assert rates_of_the_lower(None, "cg") == [0.1 * 0.5**n for n in range(9)]
    assert rates_of_the_lower(None, "unroll") == [0.1 * 0.5**n for n in (0, 3, 6)]
