"""The report of a run that a signal ended is as whole as that of one that came to its end."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import pair, points, problem
from torch import Tensor
from torch.nn.functional import mse_loss

import mlograph
from mlograph.errors import Interruption
from mlograph.loggers.protocol import Record
from mlograph.painters import Painter
from mlograph.pictures import Bars, Picture
from mlograph.trial import Trial
from mlograph.views import View

BATCH = points(8)


def fit(lower: View, upper: View) -> Tensor:
    x, y = BATCH
    penalty = next(iter(upper.parameters())).exp()
    weight = next(iter(lower.parameters()))
    return mse_loss(x @ weight, y[:, 0]) + (penalty * weight.square()).sum()


def judge(lower: View) -> Tensor:
    x, y = points(8, seed=2)
    return mse_loss(x @ next(iter(lower.parameters())), y[:, 0])


class Slow:
    """A painter that takes longer than anyone who pressed Ctrl-C waits."""

    def paint(self, trial: Trial) -> Sequence[Picture]:
        began = time.monotonic()
        while time.monotonic() - began < 120:
            torch.zeros(10).sum()
        return (Bars(title="late", values=(1.0,)),)


class Quick:
    def paint(self, trial: Trial) -> Sequence[Picture]:
        return (Bars(title="painted", values=(1.0, 2.0)),)


def declared(painters: Sequence[type[Painter]] = (Quick,), steps: int = 9) -> mlograph.Graph:
    tensors = {"_target_": "mlograph.nn.Tensors"}
    upper = problem({**tensors, "penalty": [3], "init": -1.0}, judge)
    lower = problem({**tensors, "weight": [3]}, fit, hypergradient="cg")
    pictures = [{"_target_": painter} for painter in painters]
    return pair(upper, lower, steps=steps, engine={"log_every": 4, "pictures": pictures})


class Interrupter:
    def __init__(self, step: int) -> None:
        self.step = step

    def start(self, total: int) -> None: ...

    def progress(self, step: int) -> None:
        if step == self.step:
            os.kill(os.getpid(), signal.SIGTERM)

    def log(self, record: Record) -> None: ...

    def close(self) -> None: ...


def interrupted(folder: Path, *painters: type[Painter]) -> Path:
    """The directory of a run that was stopped after its third update."""
    with pytest.raises(Interruption, match="stopped by SIGTERM after 3 updates"):
        declared(painters).run(folder, [Interrupter(3)], quiet=True)
    (directory,) = folder.glob("graph/*")
    return directory


def titles(directory: Path) -> list[str]:
    learned: list[dict[str, Any]] = json.loads((directory / "learned.json").read_text())
    return [one["title"] for one in learned]


def lines(directory: Path) -> list[tuple[str, int]]:
    rows = map(json.loads, (directory / "metrics.jsonl").read_text().splitlines())
    return [(row["kind"], row["step"]) for row in rows]


def test_what_was_learned_so_far_is_drawn(tmp_path: Path):
    directory = interrupted(tmp_path, Quick)
    assert titles(directory) == ["upper.penalty", "painted"]
    page = (directory / "report.html").read_text()
    assert "upper.penalty" in page
    assert "painted" in page


def test_its_curves_reach_to_its_last_update(tmp_path: Path):
    assert lines(interrupted(tmp_path)) == [("train", 3)]


def test_whoever_goes_on_finds_no_trace_of_that(tmp_path: Path):
    directory = interrupted(tmp_path / "cut", Quick)
    declared().resume(directory, quiet=True)
    whole = declared().run(tmp_path / "whole", quiet=True).directory
    assert whole is not None
    assert lines(directory) == lines(whole) == [("train", 4), ("train", 8), ("train", 9)]
    assert (directory / "learned.json").read_text() == (whole / "learned.json").read_text()


def test_no_one_waits_for_a_picture(tmp_path: Path):
    began = time.monotonic()
    directory = interrupted(tmp_path, Quick, Slow)
    assert time.monotonic() - began < 60
    assert titles(directory) == ["upper.penalty", "painted"]
    page = (directory / "report.html").read_text()
    assert "not all that was learned is drawn: it takes more than 1 s" in page


def test_nothing_that_cannot_be_written_hides_why_a_run_ended(tmp_path: Path):
    class Obstacle(Interrupter):
        """Puts a folder where the file would be."""

        def progress(self, step: int) -> None:
            if step == self.step:
                (directory,) = tmp_path.glob("graph/*")
                (directory / "learned.json").mkdir()
            super().progress(step)

    with pytest.raises(Interruption, match="stopped by SIGTERM after 3 updates"):
        declared().run(tmp_path, [Obstacle(3)], quiet=True)


def test_nor_does_a_sink_that_fails(tmp_path: Path):
    class Failing(Interrupter):
        def log(self, record: Record) -> None:
            raise RuntimeError("no more lines")

    with pytest.raises(Interruption, match="stopped by SIGTERM after 3 updates"):
        declared().run(tmp_path, [Failing(3)], quiet=True)
