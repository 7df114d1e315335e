"""Runs that go on in their directories as if nothing had happened."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import Batches, failure, graph, line, points, problem, weights
from torch import Tensor, nn
from torch.nn.functional import mse_loss
from torch.utils.data import DataLoader, TensorDataset

import mlograph
from mlograph.checkpoints import Store, read, write
from mlograph.errors import Interruption, StorageError
from mlograph.loggers.protocol import Record
from mlograph.views import View

ADAM = {"_target_": "adam", "lr": 0.05}
MSE = {"_target_": "mse", "model": "a"}


def declared(steps: int = 7, every: int | None = 2, **engine: Any) -> mlograph.Graph:
    """One problem on shuffled batches, saved after every second update."""
    data = DataLoader(TensorDataset(*points(10)), 3, shuffle=True)
    spec = {"optimizer": ADAM, "data": data}
    checkpoint = {"every": every, **engine.pop("checkpoint", {})}
    engine = {"log_every": 1, "seed": 5, "checkpoint": checkpoint, **engine}
    return graph({"a": problem(line(), MSE, **spec)}, steps=steps, engine=engine)


class Stopper:
    """A logger that stops the run, as a person or a machine would."""

    def __init__(self, step: int, stop: Any = KeyboardInterrupt) -> None:
        self.step = step
        self.stop = stop

    def start(self, total: int) -> None: ...

    def progress(self, step: int) -> None:
        if step == self.step:
            if isinstance(self.stop, signal.Signals):
                os.kill(os.getpid(), self.stop)
            else:
                raise self.stop

    def log(self, record: Record) -> None: ...

    def close(self) -> None: ...


def stopped(tmp_path: Path, step: int, stop: Any = KeyboardInterrupt, **changes: Any) -> Path:
    """The directory of a run that was stopped."""
    with pytest.raises(BaseException) as caught:
        declared(**changes).run(tmp_path, [Stopper(step, stop)], quiet=True)
    assert isinstance(caught.value, KeyboardInterrupt)
    (directory,) = tmp_path.glob("graph/*")
    return directory


def metrics(directory: Path) -> list[dict[str, Any]]:
    """What was told, without the times."""
    lines = (directory / "metrics.jsonl").read_text().splitlines()
    return [{k: x for k, x in json.loads(one).items() if k != "seconds"} for one in lines]


def resumed(directory: Path, **changes: Any) -> tuple[mlograph.api.RunResult, list[str]]:
    told: list[str] = []
    return declared(**changes).resume(directory, quiet=True, tell=told.append), told


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return declared().run(tmp_path_factory.mktemp("whole"), quiet=True)


@pytest.mark.parametrize("step", range(2, 8))
def test_a_run_that_was_stopped_ends_as_if_it_had_not_been(step: int, tmp_path: Path, whole: Any):
    directory = stopped(tmp_path, step)
    result, told = resumed(directory)
    assert told == []
    assert all(map(torch.equal, weights(result, "a"), weights(whole, "a")))
    assert (result.steps, result.ended) == (7, "all steps made")
    assert metrics(directory) == metrics(whole.directory)
    assert [(r.step, r.values) for r in result.records] == [
        (r.step, r.values) for r in whole.records
    ]
    assert "7 of 7 updates" in (directory / "report.html").read_text()


def test_what_was_told_after_the_last_checkpoint_is_told_once(tmp_path: Path, whole: Any):
    directory = stopped(tmp_path, 6)
    # Two lines are written after what was saved at the fourth update.
    assert len(metrics(directory)) == 5
    resumed(directory)
    assert metrics(directory) == metrics(whole.directory)


def test_a_run_that_ended_is_not_run_again(tmp_path: Path, whole: Any):
    before = declared().run(tmp_path, quiet=True)
    assert before.directory is not None
    lines = (before.directory / "metrics.jsonl").read_bytes()
    result, _ = resumed(before.directory)
    assert (result.steps, result.ended) == (7, "all steps made")
    assert all(map(torch.equal, weights(result, "a"), weights(whole, "a")))
    assert (before.directory / "metrics.jsonl").read_bytes() == lines


def test_a_run_stopped_before_its_first_checkpoint_begins_anew(tmp_path: Path, whole: Any):
    directory = stopped(tmp_path, 1)
    result, told = resumed(directory)
    assert told == ["there is no checkpoint yet: the run begins anew"]
    assert all(map(torch.equal, weights(result, "a"), weights(whole, "a")))
    assert metrics(directory) == metrics(whole.directory)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_within_a_step(
    number: signal.Signals, code: int, tmp_path: Path, whole: Any
):
    with pytest.raises(Interruption) as caught:
        declared(every=None).run(tmp_path, [Stopper(5, number)], quiet=True)
    (directory,) = tmp_path.glob("graph/*")
    assert caught.value.exit_code == code
    words = f"stopped by {number.name} after 5 updates"
    assert str(caught.value) == f"{words}; go on with: mlograph resume {directory}"
    assert words in (directory / "report.html").read_text()
    newest = Store(directory / "checkpoints").paths()[0].name
    assert newest == "step-00000005-0000000005.ckpt"
    result, _ = resumed(directory, every=None)
    assert all(map(torch.equal, weights(result, "a"), weights(whole, "a")))


def test_signals_can_be_left_alone(tmp_path: Path):
    # Whoever starts the tests in the background may have them ignore Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt) as caught:
            off = declared(checkpoint={"on_signal": False})
            off.run(tmp_path, [Stopper(5, signal.SIGINT)], quiet=True)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not isinstance(caught.value, Interruption)


def test_a_damaged_checkpoint_is_named_and_passed_over(tmp_path: Path, whole: Any):
    directory = stopped(tmp_path, 6)
    newest, older = Store(directory / "checkpoints").paths()
    newest.write_bytes(newest.read_bytes()[:-10])
    result, (told,) = resumed(directory)
    assert told.startswith(f"{newest}: is damaged")
    assert told.endswith(f"going back to {older.name}")
    assert all(map(torch.equal, weights(result, "a"), weights(whole, "a")))
    assert metrics(directory) == metrics(whole.directory)


def test_where_nothing_is_whole_nothing_is_touched(tmp_path: Path):
    directory = stopped(tmp_path, 6)
    for path in Store(directory / "checkpoints").paths():
        path.write_bytes(b"")
    before = (directory / "metrics.jsonl").read_bytes()
    with pytest.raises(StorageError, match="no checkpoint of this run is whole"):
        resumed(directory)
    assert (directory / "metrics.jsonl").read_bytes() == before


def test_another_machine_is_said(tmp_path: Path):
    directory = stopped(tmp_path, 6)
    path = Store(directory / "checkpoints").paths()[0]
    state = read(path)
    state["machine"] |= {"torch": "2.10.0", "threads": "3"}
    write(path, state)
    threads = torch.get_num_threads()
    try:
        _, told = resumed(directory)
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(threads)
    assert told[0] == "going on with 3 threads, as before"
    assert told[1] == f"torch: 2.10.0 when it was saved, {version('torch')} now"
    assert told[2].startswith("results may differ")


def test_the_state_of_another_graph_is_refused(tmp_path: Path):
    directory = stopped(tmp_path, 6)
    other = graph({"a": problem(line(4), MSE, data=Batches(points(inputs=4)))}, steps=7)
    message = failure(lambda: other.resume(directory, quiet=True))
    assert message.endswith(".ckpt: was saved by another graph: a differs")
    twice = {"data": Batches(points()), "gradient_accumulation": 2}
    planned = graph({"a": problem(line(), MSE, **twice)}, steps=7)
    message = failure(lambda: planned.resume(directory, quiet=True))
    assert message.endswith(".ckpt: the checkpoint was saved by a graph with another plan")


def test_metrics_that_have_become_shorter_are_named(tmp_path: Path):
    directory = stopped(tmp_path, 6)
    (directory / "metrics.jsonl").write_text("")
    with pytest.raises(StorageError, match=r"metrics\.jsonl: lines are missing"):
        resumed(directory)


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, whole: Any
):
    from mlograph.checkpoints import store

    written: list[Path] = []

    def full(path: Path, state: Any) -> None:
        written.append(path)
        if len(written) == 3:
            raise StorageError(f"{path}: the checkpoint cannot be written: No space left on device")
        write(path, state)

    monkeypatch.setattr(store, "write", full)
    message = failure(lambda: declared().run(tmp_path, quiet=True))
    monkeypatch.undo()
    assert message == (
        f"{written[2]}: the checkpoint cannot be written: No space left on device; "
        "step-00000002-0000000002.ckpt is still there"
    )
    (directory,) = tmp_path.glob("graph/*")
    result, _ = resumed(directory)
    assert all(map(torch.equal, weights(result, "a"), weights(whole, "a")))


class Odd:
    """A batch that no checkpoint can hold."""

    def __init__(self) -> None:
        self.x, self.y = points()


class Oddities:
    def __iter__(self) -> Iterator[Odd]:
        yield Odd()


def odd(a: View, batch: Odd) -> Tensor:
    return mse_loss(a(batch.x), batch.y)


def test_what_no_checkpoint_can_hold_is_told_at_the_first_one(tmp_path: Path):
    strange = graph({"a": problem(line(), odd, data=Oddities())}, steps=3)
    result = strange.run(tmp_path, quiet=True)
    (event,) = [r for r in result.records if r.kind == "event"]
    assert event.step == 1
    assert event.text == (
        "a resumed run would not be the same, since no checkpoint can hold it: "
        "problems.a holds a test_resume.Odd"
    )
    assert result.directory is not None
    again = graph({"a": problem(line(), odd, data=Oddities())}, steps=3)
    message = failure(lambda: again.resume(result.directory or "", quiet=True))
    assert message.endswith("could not be saved in full: problems.a holds a test_resume.Odd")


class Scores:
    def __init__(self, *values: float) -> None:
        self.values = list(values)

    def baselines(self, trial: Any) -> dict[str, dict[str, float]]:
        return {}

    def validate(self, trial: Any) -> dict[str, float]:
        return {"score": self.values.pop(0)}


@pytest.mark.parametrize(("mode", "best"), [("max", 2), ("min", 3)])
def test_the_best_is_kept_beside_the_last(mode: str, best: int, tmp_path: Path):
    engine = {
        "validate": {"validator": Scores(1.0, 3.0, 0.0, 2.0, 2.0), "every": 1},
        "checkpoint": {"best": "validation.score", "mode": mode, "keep": 1},
    }
    result = declared(steps=5, every=1, **engine).run(tmp_path, quiet=True)
    assert result.directory is not None
    folder = result.directory / "checkpoints"
    assert {path.name for path in folder.iterdir()} == {
        "best.ckpt",
        "step-00000005-0000000005.ckpt",
    }
    assert read(folder / "best.ckpt")["rest"]["steps"] == best


class Pairs:
    """The first stands still while the second gets better."""

    def __init__(self) -> None:
        self.asked = 0

    def baselines(self, trial: Any) -> dict[str, dict[str, float]]:
        return {}

    def validate(self, trial: Any) -> dict[str, float]:
        self.asked += 1
        return {"still": 1.0, "score": float(min(self.asked, 3))}


def test_the_best_is_kept_where_another_metric_ends_the_run(tmp_path: Path):
    engine = {
        "validate": {"validator": Pairs(), "every": 1},
        "checkpoint": {"best": "validation.score", "mode": "max"},
        "early_stopping": {"metric": "still", "patience": 2},
    }
    result = declared(steps=9, every=1, **engine).run(tmp_path, quiet=True)
    assert result.directory is not None
    assert result.steps == 3
    assert read(result.directory / "checkpoints" / "best.ckpt")["rest"]["steps"] == 3


def test_a_misspelt_best_gets_the_nearest_name(tmp_path: Path):
    engine = {
        "validate": {"validator": Scores(1.0, 2.0), "every": 1},
        "checkpoint": {"best": "scor"},
    }
    message = failure(lambda: declared(**engine).run(tmp_path, quiet=True))
    assert message == ("engine.checkpoint.best: no 'scor' in validation (did you mean 'score'?)")


class Counting(nn.Linear):
    """Keeps a number that is no tensor."""

    calls = 0

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return super().forward(x) * (1 + 0.01 * self.calls)

    def get_extra_state(self) -> Any:
        return {"calls": self.calls}

    def set_extra_state(self, state: Any) -> None:
        self.calls = state["calls"]


def test_the_extra_state_of_a_module_goes_on(tmp_path: Path):
    def counting() -> mlograph.Graph:
        torch.manual_seed(0)
        module = Counting(3, 1)
        spec = {"data": Batches(points())}
        engine = {"checkpoint": {"every": 2}}
        return graph({"a": problem(module, MSE, **spec)}, steps=6, engine=engine)

    expected = counting().run(quiet=True)
    with pytest.raises(KeyboardInterrupt):
        counting().run(tmp_path, [Stopper(5)], quiet=True)
    (directory,) = tmp_path.glob("graph/*")
    result = counting().resume(directory, quiet=True)
    assert all(map(torch.equal, weights(result, "a"), weights(expected, "a")))
