"""What comes from the environment is used, and written or told nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlograph import load
from mlograph.errors import MlographError
from mlograph.report import compare
from mlograph.snapshot import _hide

SECRET = "s3cr3t-T0ken-value"

GRAPH = """mlograph: 1
name: g
description: run with ${env:TOKEN} by somebody
vars: {token: "${env:TOKEN}"}
problems:
  a:
    module: {_target_: parts.Line, token: "${vars.token}"}
    loss: {_target_: parts.LOSS, token: "x-${env:TOKEN}"}
    optimizer: {_target_: sgd, lr: 0.1}
engine: {steps: 2, device: cpu}
"""
PARTS = """
import torch

class Line(torch.nn.Linear):
    def __init__(self, token):
        assert token.startswith("s3cr3t")
        super().__init__(1, 1)

class Bad(torch.nn.Linear):
    def __init__(self, token):
        raise ValueError(f"cannot log in with {token}")

def good(a, token):
    return a(torch.ones(1, 1)).square().sum()

def failing(a, token, step):
    if step:
        raise ValueError(f"cannot use {token}")
    return a(torch.ones(1, 1)).square().sum()
"""


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TOKEN", SECRET)
    (tmp_path / "parts.py").write_text(PARTS)
    file = tmp_path / "g.yaml"
    file.write_text(GRAPH.replace("LOSS", "good"))
    return file


def everything(folder: Path) -> dict[str, bytes]:
    return {str(f.relative_to(folder)): f.read_bytes() for f in folder.rglob("*") if f.is_file()}


def test_no_file_of_a_run_holds_a_secret(graph: Path, capsys: pytest.CaptureFixture[str]):
    load(graph).run(graph.parent / "runs")
    files = everything(graph.parent / "runs")
    assert any(name.endswith("resolved.yaml") for name in files)
    assert any("checkpoints" in name for name in files)
    assert [name for name, data in files.items() if SECRET.encode() in data] == []
    assert SECRET not in "".join(capsys.readouterr())


def test_a_component_that_fails_tells_no_secret(graph: Path):
    graph.write_text(graph.read_text().replace("parts.Line", "parts.Bad"))
    with pytest.raises(MlographError, match="cannot log in with") as caught:
        load(graph).run(graph.parent / "runs", quiet=True)
    assert SECRET not in str(caught.value)
    assert "${env:TOKEN}" in str(caught.value)


def test_a_run_that_fails_tells_no_secret(graph: Path):
    graph.write_text(graph.read_text().replace("parts.good", "parts.failing"))
    with pytest.raises(MlographError, match="cannot use") as caught:
        load(graph).run(graph.parent / "runs", quiet=True)
    assert SECRET not in str(caught.value)
    files = everything(graph.parent / "runs")
    assert any(b"cannot use" in data for data in files.values())
    assert [name for name, data in files.items() if SECRET.encode() in data] == []


TALKATIVE = """

def good(a, token, step):
    return {"loss": a(torch.ones(1, 1)).square().sum(), token + " metric": torch.tensor(1.0)}

class Validator:
    def __init__(self, token):
        self.token = token

    def baselines(self, trial):
        return {f"without {self.token}": {"accuracy": 0.5}}

    def validate(self, trial):
        return {f"with {self.token}": 1.0}

class Painter:
    def __init__(self, token):
        self.token = token

    def paint(self, trial):
        raise ValueError(f"cannot draw {self.token}")
"""
TOLD = """
  log_every: 1
  validate: {_target_: parts.Validator, token: "${env:TOKEN}", every: 1}
  pictures: [{_target_: parts.Painter, token: "${env:TOKEN}"}]
  loggers: [tensorboard, {_target_: csv, path: table.csv}]
"""


def test_what_components_call_and_tell_is_told_without_secrets(
    graph: Path, capsys: pytest.CaptureFixture[str]
):
    (graph.parent / "parts.py").write_text(PARTS + TALKATIVE)
    engine = "engine:\n  steps: 2\n  device: cpu" + TOLD
    graph.write_text(graph.read_text().replace("engine: {steps: 2, device: cpu}", engine))
    result = load(graph).run(graph.parent / "runs", verbose=True, profile=True)
    files = {n: d for n, d in everything(graph.parent / "runs").items() if "checkpoints" not in n}
    for known in ("metrics.jsonl", "report.html", "profile.json", "table.csv"):
        assert any(name.endswith(known) for name in files)
    metrics = next(data for name, data in files.items() if name.endswith("metrics.jsonl"))
    for told in ("without ${env:TOKEN}", "with ${env:TOKEN}", "cannot draw ${env:TOKEN}"):
        assert told.encode() in metrics
    assert [name for name, data in files.items() if SECRET.encode() in data] == []
    assert SECRET not in "".join(capsys.readouterr())
    assert SECRET not in repr(result.records)


@pytest.mark.parametrize("fmt", ["dot", "svg", "mermaid", "html"])
def test_a_drawing_and_a_plan_tell_no_secret(graph: Path, fmt: str):
    loaded = load(graph)
    assert "${env:TOKEN}" in loaded.explain()
    shown = str(loaded._repr_mimebundle_()) + loaded.explain() + loaded.render(fmt).decode()
    assert SECRET not in shown


def test_runs_that_are_compared_tell_no_secret(graph: Path):
    for lr in (0.1, 0.2):
        override = f"problems.a.optimizer.lr={lr}"
        load(graph, [override]).run(graph.parent / "runs", quiet=True)
    page = compare(sorted((graph.parent / "runs" / "g").iterdir()))
    assert "0.2" in page
    assert SECRET not in page


def test_a_text_that_is_still_to_be_told_is_saved_without_secrets():
    state = {"remarks": [f"no {SECRET}"], "tasks": {"said": [SECRET], "seconds": [1.0]}}
    _hide(state, lambda text: text.replace(SECRET, "…"))
    assert state == {"remarks": ["no …"], "tasks": {"said": ["…"], "seconds": [1.0]}}
