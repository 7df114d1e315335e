"""What a graph file names as a log lies in the folder of the run, whatever the name tries."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlograph import load
from mlograph.components import Imports, build
from mlograph.errors import GraphError
from mlograph.language.spec import Component
from mlograph.loggers.confined import confined

GRAPH = """mlograph: 1
name: g
problems:
  a:
    module: {_target_: parts.Line}
    loss: parts.loss
    optimizer: {_target_: sgd, lr: 0.1}
engine:
  steps: 2
  device: cpu
  loggers: [{_target_: csv, path: LOG}]
"""
PARTS = """
import torch

class Line(torch.nn.Linear):
    def __init__(self):
        super().__init__(1, 1)

def loss(a):
    return a(torch.ones(1, 1)).square().sum()
"""

OUTSIDE = [
    "../x.csv", "/tmp/x.csv", "a/../../x.csv", "..", ".", "~/x.csv", "C:x.csv", "C:\\\\x.csv",
    "..\\\\x.csv", "a/..", "\\\\x.csv",
]  # fmt: skip


def written(folder: Path, name: str) -> Path:
    (folder / "parts.py").write_text(PARTS)
    file = folder / "g.yaml"
    file.write_text(GRAPH.replace("LOG", f'"{name}"'))
    return file


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_log_outside_of_the_run_is_refused_and_nothing_is_written(name: str, tmp_path: Path):
    here = tmp_path / "deep" / "down"
    here.mkdir(parents=True)
    graph = load(written(here, name))
    before = sorted(tmp_path.rglob("*.csv"))
    with pytest.raises(GraphError, match="does not lie in the folder of the run") as caught:
        graph.run(here / "runs", quiet=True)
    assert caught.value.faults[0].location is not None
    assert sorted(tmp_path.rglob("*.csv")) == before
    assert not (here / "runs" / "g").exists()


def test_a_log_lies_in_the_run_directory(tmp_path: Path):
    result = load(written(tmp_path, "logs/mine.csv")).run(tmp_path / "runs", quiet=True)
    assert result.directory is not None
    assert (result.directory / "logs" / "mine.csv").read_text().startswith("kind,step")


@pytest.mark.parametrize("name", ["metrics.jsonl", "Report.html", "checkpoints/x.csv"])
def test_a_log_replaces_nothing_that_the_run_writes(name: str, tmp_path: Path):
    with pytest.raises(GraphError, match=r"a run writes '.*' itself"):
        confined(name, tmp_path, ("engine", "loggers"))


def test_a_link_does_not_lead_out(tmp_path: Path):
    inside = tmp_path / "run"
    inside.mkdir()
    (inside / "link").symlink_to(tmp_path)
    with pytest.raises(GraphError, match="does not lie"):
        confined("link/x.csv", inside, ())


@pytest.mark.parametrize("name", [3, "", None, "a\nb", "a\x1b[31m", ["x"]])
def test_a_name_is_a_printable_text(name: object, tmp_path: Path):
    with pytest.raises(GraphError, match="expected the name of a file"):
        confined(name, tmp_path, ())


@pytest.mark.parametrize(
    "target", ["mlograph.loggers.file.LineFile", "mlograph.loggers.jsonl.LineFile"]
)
def test_what_opens_files_cannot_be_named(target: str, tmp_path: Path):
    file = tmp_path / "x"
    with pytest.raises(GraphError, match="may not be imported"):
        build(Component.of(target, path=str(file)), Imports(), ("problems", "a", "module"))
    assert not file.exists()
