"""Runs with torch.compile from end to end: what is told, resumed and refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from builders import failure, weights
from compiled_graphs import (
    alone,
    assert_same,
    implicit_maml,
    penalties,
    reweighting,
    stepped,
)

import mlograph
from mlograph.explain import explain
from mlograph.loggers.protocol import Record


def compiled(declared: mlograph.Graph, how: str = "on", **engine: object) -> mlograph.Graph:
    """The same graph, compiled."""
    spec = declared.structure.spec
    settings = {**spec.engine.model_dump(by_alias=True, exclude_unset=True), **engine}
    return mlograph.Graph(
        problems=spec.problems,
        edges=spec.edges,
        engine={**settings, "execution": {"compile": how}},
    )


def section(declared: mlograph.Graph) -> list[str]:
    """What a plan says of compiling."""
    lines = explain(declared.structure, declared.plan()).splitlines()
    first = next((i for i, line in enumerate(lines) if line.startswith("compiled ")), None)
    if first is None:
        return []
    rest = lines[first + 1 :]
    more = next(i for i, line in enumerate(rest) if not line.startswith("  "))
    return [line[13:] for line in [lines[first], *rest[:more]]]


def test_a_plan_says_what_is_compiled():
    assert section(penalties()) == []
    assert section(compiled(penalties())) == [
        "gradients of upper, lower",
        "Hessian products of lower",
    ]
    assert section(compiled(reweighting("unroll"))) == [
        "gradients of upper",
        "gradients in recorded steps, and the way back through them, of lower",
    ]
    assert section(compiled(reweighting("forward"))) == [
        "gradients of upper",
        "not the loops of lower, which forward records",
    ]
    assert section(compiled(reweighting("darts"), "auto")) == [
        "gradients of upper, lower, where the rest of a run saves more than compiling takes"
    ]


class Stopper:
    """A logger that stops the run."""

    def __init__(self, step: int) -> None:
        self.step = step

    def start(self, total: int) -> None: ...

    def progress(self, step: int) -> None:
        if step == self.step:
            raise KeyboardInterrupt

    def log(self, record: Record) -> None: ...

    def close(self) -> None: ...


@pytest.mark.slow
def test_a_resumed_run_is_compiled_as_before_and_the_same_to_the_last_bit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))

    def declared() -> mlograph.Graph:
        made = implicit_maml({"method": "cg", "iterations": 2})
        return compiled(made, steps=3, checkpoint={"every": 1}, log_every=1)

    whole = declared().run(tmp_path / "whole", quiet=True)
    with pytest.raises(KeyboardInterrupt):
        declared().run(tmp_path / "part", [Stopper(2)], quiet=True)
    (directory,) = tmp_path.glob("part/*/*")
    again = declared().resume(directory, quiet=True)
    for name in ("upper", "lower"):
        for one, other in zip(weights(again, name), weights(whole, name), strict=True):
            assert torch.equal(one, other)
    told = [record.text for record in whole.records if "is compiled" in record.text]
    assert len(told) == 3 and all("which took" in text for text in told)
    assert not [path for path in tmp_path.glob("whole/**/*") if path.suffix in {".so", ".cpp"}]
    plain = implicit_maml({"method": "cg", "iterations": 2}).run(quiet=True)
    for one, other in zip(weights(whole, "upper"), weights(plain, "upper"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-9)


def test_a_problem_without_data_is_compiled_too():
    free = {"_target_": "mlograph.losses.l2", "model": "lower"}
    plain, _ = stepped(alone(loss=free, data=None))
    program, compiling = stepped(alone(loss=free, data=None), "on")
    assert_same(program, plain)
    assert " is compiled, which took " in compiling.take_remarks()[0]


def test_what_cannot_be_compiled_stops_a_run_that_asks_for_it():
    noisy = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Dropout(0.5))
    message = failure(lambda: compiled(alone(noisy)).run(quiet=True))
    assert "cannot be compiled: the loss draws random numbers" in message


FILE = """
mlograph: 1
name: small
problems:
  a:
    module: {_target_: mlograph.nn.MLP, sizes: [2, 1]}
    optimizer: {_target_: sgd, lr: 0.1}
    loss: {_target_: mlograph.losses.l2, model: a}
engine: {steps: 2, device: cpu, execution: {compile: on}}
"""


@pytest.mark.slow
def test_without_a_compiler_the_command_ends_with_2(tmp_path: Path):
    (tmp_path / "small.yaml").write_text(FILE)
    env = {
        **os.environ,
        "CXX": str(tmp_path / "none"),
        "TORCHINDUCTOR_CACHE_DIR": str(tmp_path / "cache"),
    }
    command = [sys.executable, "-m", "mlograph", "run", "small.yaml"]
    done = subprocess.run(
        command, check=False, cwd=tmp_path, env=env, capture_output=True, text=True
    )
    assert done.returncode == 2
    said = " ".join(done.stderr.split())
    assert "engine.execution.compile: the gradient of 'a' cannot be compiled: there is no C++" in (
        said
    )
