"""What comes from the environment is used, and written or told nowhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from mlograph import load
from mlograph.errors import MlographError

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
