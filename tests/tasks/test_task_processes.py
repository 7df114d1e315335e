"""Tasks that are spread over worker processes give the numbers that one after another gives."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import Batch, failure
from task_graphs import CG, MOMENTUM, normalised, numbers, tasks
from torch import Tensor, nn
from torch.nn import functional as F

from mlograph import Graph, load
from mlograph.errors import ProcessError
from mlograph.losses import mse, proximal
from mlograph.nn import MLP
from mlograph.views import View

HERE = os.getpid()


@pytest.fixture(autouse=True)
def one_thread():
    """Workers have one, and the last bits depend on it."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def spread(*args: Any, workers: int = 2, **options: Any) -> Graph:
    engine = dict(options.pop("engine", {}))
    execution = {"tasks": "processes", "workers": workers}
    return tasks("processes", *args, engine={**engine, "execution": execution}, **options)


def unequal(*args: Any, workers: int = 2, **options: Any) -> list[str]:
    """What is not the same to the last bit."""
    one = numbers(tasks("sequential", *args, **options))
    other = numbers(spread(*args, workers=workers, **options))
    assert one.keys() == other.keys()
    return [n for n in one if not torch.equal(one[n].nan_to_num(7.0), other[n].nan_to_num(7.0))]


def single() -> nn.Module:
    torch.manual_seed(0)
    return MLP([1, 16, 1])


def pull_together(lower: View, upper: View) -> Tensor:
    pairs = zip(lower.parameters(), upper.parameters(), strict=True)
    return torch.stack([(a - b).square().sum() for a, b in pairs]).sum()


def by_step(lower: View, upper: View, batch: Batch, step: int) -> Tensor:
    return mse(lower, batch) / (step + 1) + pull_together(lower, upper)


SCHEDULE = {"_target_": "torch.optim.lr_scheduler.StepLR", "step_size": 1, "gamma": 0.5}


def test_everything_is_the_same_to_the_last_bit():
    rich = {"scheduler": SCHEDULE, "optimizer": MOMENTUM, "gradient_accumulation": 2}
    module = {"module": {"_target_": normalised}, "freeze": "layers.3.bias"}
    assert not unequal(CG, upper=module, lower=rich | module, count=5)


METHODS: dict[str, Any] = {
    "neumann": {"method": "neumann", "iterations": 4, "alpha": 0.1},
    "gmres": "gmres",
    "nystrom": {"method": "nystrom", "rank": 3},
    "unroll": {"method": "unroll", "checkpoint": "sqrt"},
    "reptile": "reptile",
    "darts": "darts",
    "sama": "sama",
    "es": {"method": "es", "samples": 2},
    "penalty": {"method": "penalty", "steps": 2},
}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_every_kind_of_method(method: Any):
    adam = {"optimizer": {"_target_": "adam", "lr": 0.02}}
    assert not unequal(method, lower=adam)


def dropped(lower: View, upper: View, batch: Batch) -> Tensor:
    return F.mse_loss(F.dropout(lower(batch[0]), 0.5), batch[1]) + pull_together(lower, upper)


SETTINGS: dict[str, dict[str, Any]] = {
    "a loss that asks for its step": {"lower": {"loss": by_step}},
    "more workers than tasks": {"workers": 7, "count": 2},
    "tasks that cannot be divided": {"workers": 3, "count": 4},
    "one worker": {"workers": 1},
    "an optimizer that is not elementwise": {
        "lower": {"optimizer": {"_target_": "torch.optim.Adafactor", "lr": 0.01}}
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("setting", SETTINGS.values(), ids=SETTINGS)
def test_settings(setting: dict[str, Any]):
    assert not unequal(**setting)


@pytest.mark.slow
def test_single_precision_is_the_same_to_the_last_bit():
    module = {"module": {"_target_": single}, "precision": "float32"}
    assert not unequal(upper=module, lower=module)


@pytest.mark.slow
def test_random_numbers_are_others_but_do_not_depend_on_who_draws_them():
    noisy = {"loss": dropped}
    one, other = (numbers(spread(lower=noisy, workers=count)) for count in (1, 3))
    assert all(torch.equal(one[name], other[name]) for name in one)
    told = [r.text for r in spread(lower=noisy).run(quiet=True).records if r.text]
    said = "random numbers in the loops of 'lower' are others in processes than one by one"
    assert told.count(said) == 1


@pytest.mark.slow
@pytest.mark.parametrize("loss", [dropped, by_step])
def test_a_run_that_goes_on_is_the_same_as_one_that_was_never_stopped(loss: Any, tmp_path: Path):
    class Stop:
        def start(self, total: int) -> None: ...
        def log(self, record: object) -> None: ...
        def close(self) -> None: ...
        def progress(self, step: int) -> None:
            if step == 3:
                os.kill(HERE, signal.SIGINT)

    def declared() -> Graph:
        return spread(lower={"loss": loss}, engine={"steps": 6})

    whole = declared().run(quiet=True)
    with pytest.raises(KeyboardInterrupt, match="go on with"):
        declared().run(tmp_path, [Stop()], quiet=True)
    (folder,) = tmp_path.glob("*/*")
    went_on = declared().resume(folder, quiet=True)
    assert went_on.last() == whole.last()
    for name, module in whole.modules.items():
        for x, y in zip(module.parameters(), went_on.modules[name].parameters(), strict=True):
            assert torch.equal(x, y)


# --- What goes wrong


def deadly(lower: View, upper: View, batch: Batch, here: int, number: int) -> Tensor:
    if os.getpid() != here:
        os.kill(os.getpid(), number)
    return mse(lower, batch) + proximal(lower, upper, 2.0)


def test_a_worker_that_dies_is_told_with_its_reason():
    loss = {"_target_": deadly, "here": HERE, "number": int(signal.SIGKILL)}
    with pytest.raises(ProcessError) as caught:
        spread(lower={"loss": loss}, workers=1).run(quiet=True)
    assert str(caught.value) == (
        "engine.execution.tasks: worker process 1 of 1 was ended by SIGKILL; the system does that "
        "where memory runs out, and fewer 'workers' need less (write sequential to do without)"
    )
    assert caught.value.exit_code == 4


def failing(lower: View, upper: View, batch: Batch) -> Tensor:
    if bool(batch[0].sum() > 0):
        raise ValueError("positive")
    return mse(lower, batch) + proximal(lower, upper, 2.0)


def nan(lower: View, upper: View, batch: Batch) -> Tensor:
    bad = float("nan") if bool(batch[0].sum() > 0) else 1.0
    return bad * mse(lower, batch) + proximal(lower, upper, 2.0)


@pytest.mark.slow
@pytest.mark.parametrize("loss", [failing, nan])
def test_errors_have_the_words_and_the_place_that_they_have_one_by_one(loss: Any):
    first = failure(lambda: tasks("sequential", lower={"loss": loss}).run(quiet=True))
    assert first == failure(lambda: spread(lower={"loss": loss}).run(quiet=True))
    assert first.startswith("problems.lower")


@pytest.mark.slow
def test_a_task_that_is_not_finite_is_skipped_as_one_by_one():
    assert not unequal(lower={"loss": nan}, engine={"on_nonfinite": "skip"})


KEPT = [1.0]


def with_a_memory(lower: View, upper: View, batch: Batch) -> Tensor:
    return KEPT[0] * mse(lower, batch) + proximal(lower, upper, 2.0)


@pytest.mark.slow
def test_what_a_worker_cannot_know_is_found_out():
    KEPT[0] = 3.0
    try:
        message = failure(lambda: spread(lower={"loss": with_a_memory}).run(quiet=True))
    finally:
        KEPT[0] = 1.0
    assert message == (
        "engine.execution.tasks: the loops of 'lower' cannot run in processes: the gradient that a "
        "worker process finds is another one than here (a loss or a module may keep something that "
        "is no parameter, buffer or argument) (write auto or sequential)"
    )


def test_a_loss_that_no_other_process_knows_is_refused():
    def local(lower: View, upper: View, batch: Batch) -> Tensor:
        return mse(lower, batch) + proximal(lower, upper, 2.0)

    message = failure(lambda: spread(lower={"loss": local}).run(quiet=True))
    assert message.startswith(
        "engine.execution.tasks: the loops of 'lower' cannot run in processes: the loss of 'lower' "
        "cannot be sent to a process: "
    )


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (
            {"engine": {"device": "cuda"}},
            "the run is on cuda, which one process has to itself",
        ),
        (
            {"lower": {"hypergradient": {"method": "gmres", "warm_start": True}}},
            "each linear system of 'lower' starts at the last one's solution (warm_start)",
        ),
        ({"count": 1}, "'upper' makes an update from every pass (gradient_accumulation 1)"),
    ],
)
def test_the_plan_says_why_a_graph_cannot(options: dict[str, Any], reason: str):
    text = " ".join(spread(**options).explain().split())
    assert f"loops below upper one by one: {reason}" in text


@pytest.mark.parametrize(
    ("workers", "text"),
    [(1, "in 1 worker process"), (3, "in 3 worker processes"), (9, "in 4 worker processes")],
)
def test_the_plan_says_how_many(workers: int, text: str):
    assert f"4 loops of lower {text}\n" in spread(workers=workers).explain()
    assert "worker processes, one for each processor core" in tasks("processes").explain()


# --- What is printed, and who is left


def talking(lower: View, upper: View, batch: Batch) -> Tensor:
    print(f"{float(batch[0].sum()):.9f}")
    return mse(lower, batch) + proximal(lower, upper, 2.0)


@pytest.mark.slow
def test_what_a_loss_prints_comes_in_the_order_of_the_tasks(capsys: pytest.CaptureFixture[str]):
    tasks("sequential", "first_order", lower={"loss": talking}).run(quiet=True)
    wanted = capsys.readouterr().out
    spread("first_order", lower={"loss": talking}).run(quiet=True)
    assert capsys.readouterr().out == wanted
    assert wanted.count("\n") == 3 * 4 * 3


def lazy(lower: View, upper: View, batch: Batch, step: int, here: int, folder: str) -> Tensor:
    """Tells who evaluates it; the first worker waits until the other has done nine of twelve."""
    if os.getpid() != here:
        with suppress(FileExistsError):
            (Path(folder) / "slow").symlink_to(str(os.getpid()))
        window = Path(folder, f"window {step // 12}")
        window.mkdir(exist_ok=True)
        if os.readlink(Path(folder) / "slow") != str(os.getpid()):
            (window / str(step)).touch()
        else:
            until(lambda: len([*window.iterdir()]) == 9)
    print(os.getpid())
    return mse(lower, batch) + proximal(lower, upper, 2.0)


@pytest.mark.slow
def test_who_is_done_first_takes_more_of_the_loops(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    loss = {"_target_": lazy, "here": HERE, "folder": str(tmp_path)}
    lower = {"loss": loss, "unroll_steps": 1}
    spread("first_order", lower=lower, count=12, engine={"steps": 2}).run(quiet=True)
    of_last = capsys.readouterr().out.split()[-12:]
    # Three are given to each in the beginning; a half would be six.
    assert of_last.count(os.readlink(tmp_path / "slow")) == 3


def slow(lower: View, upper: View, batch: Batch, here: int) -> Tensor:
    if os.getpid() != here:
        # At once, since print may write the end of the line by itself and both workers write here.
        os.write(1, b"slow\n")
        time.sleep(1000)
    return mse(lower, batch) + proximal(lower, upper, 2.0)


ENDLESS = """\
import os, signal, sys
sys.path[:0] = {paths}
from test_task_processes import slow, spread
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell runs beside it
loss = {{"_target_": slow, "here": os.getpid()}}
spread(lower={{"loss": loss}}, engine={{"steps": 10**9}}).run(quiet=True)
"""


def children(parent: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[1]) == parent and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def until(condition: Callable[[], bool]) -> bool:
    end = time.monotonic() + 60
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.1)
    return False


def alive(process: int) -> bool:
    try:
        return ") Z " not in Path(f"/proc/{process}/stat").read_text()
    except OSError:
        return False


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_workers_end_with_the_run_however_it_ends(number: signal.Signals):
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    root = Path(__file__).parents[2]
    run = subprocess.Popen(
        [sys.executable, "-c", ENDLESS.format(paths=paths)],
        cwd=root,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )
    assert run.stdout is not None
    try:
        # Each worker is in the middle of a loop that does not end.
        assert [run.stdout.readline() for _ in range(2)] == [b"slow\n"] * 2
        workers = children(run.pid)
        assert len(workers) == 2
        run.send_signal(number)
        run.wait(60)
        assert until(lambda: not any(map(alive, workers)))
    finally:
        run.kill()
        run.wait()
        run.stdout.close()


# --- A graph file with a Python file beside it

BESIDE = """\
import torch
from torch import nn

SCALE = 2.0


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, 5), nn.Tanh(), nn.Linear(5, 1))

    def forward(self, x):
        return self.layers(x)


def fit(lower, upper, batch):
    x, y = batch
    pairs = zip(lower.parameters(), upper.parameters(), strict=True)
    return (lower(x) - y).square().mean() + SCALE * sum((a - b).square().sum() for a, b in pairs)
"""

FILE = """\
mlograph: 1
name: beside
env: {_target_: mlograph.envs.SineEnv, shots: 6, queries: 5}
problems:
  upper:
    module: beside.Net
    loss: {_target_: mse, model: lower}
    data: env.query
    gradient_accumulation: 3
    optimizer: {_target_: adam, lr: 0.01}
    precision: float64
  lower:
    module: {copy: upper}
    start_from: upper
    loss: beside.fit
    data: env.support
    unroll_steps: 2
    optimizer: {_target_: sgd, lr: 0.02}
    scheduler: {_target_: step, step_size: 1}
    precision: float64
edges: [{u2l: upper -> lower}, {l2u: lower -> upper}]
engine: {steps: 2, log_every: 1, device: cpu}
"""


@pytest.mark.slow
def test_a_file_beside_the_graph_is_known_to_workers(tmp_path: Path):
    (tmp_path / "beside.py").write_text(BESIDE)
    (tmp_path / "beside.yaml").write_text(FILE)
    ways = [["sequential"], ["processes", "engine.execution.workers=2"]]
    one, other = (
        load(tmp_path / "beside.yaml", [f"engine.execution.tasks={way}", *rest]).run(quiet=True)
        for way, *rest in ways
    )
    assert one.last() == other.last()
    for name, module in one.modules.items():
        theirs = other.modules[name].state_dict()
        assert all(torch.equal(x, theirs[key]) for key, x in module.state_dict().items())
