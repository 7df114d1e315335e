"""A run of which everything is kept, with a runner that only pretends."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from mlograph import language
from mlograph.components import Imports
from mlograph.declaration import Declaration
from mlograph.errors import NumericError, UsageError
from mlograph.graph import ProblemGraph
from mlograph.loggers.memory import Memory
from mlograph.loggers.protocol import Logger, Record
from mlograph.plan import Plan
from mlograph.result import RunResult
from mlograph.session import run_in_directory

GRAPH = """\
mlograph: 1
name: pair
description: two problems
problems:
  outer: {module: torch.nn.Identity, optimizer: sgd, loss: mse}
  inner: {module: torch.nn.Identity, optimizer: sgd, loss: mse}
edges: [{u2l: outer -> inner}, {l2u: inner -> outer}]
engine: {steps: 4}
"""


def declaration(folder: Path | None = None) -> Declaration:
    loaded = language.loads(GRAPH, "pair.yaml", ["engine.steps=3"])
    return Declaration(
        loaded.spec,
        Imports(folder),
        loaded.source,
        ("engine.steps=3",),
        "mlograph run pair.yaml engine.steps=3",
    )


def pretend(fail: Callable[[], None] = lambda: None, start: bool = True):
    def runner(
        graph: ProblemGraph,
        plan: Plan,
        imports: Imports,
        loggers: Sequence[Logger] = (),
        checkpoint: Path | None = None,
        again: Callable[[str], None] | None = None,
        learned: object = None,
    ):
        if not start:
            fail()
        for logger in loggers:
            logger.start(plan.steps)
        try:
            for logger in loggers:
                logger.progress(2)
                logger.log(Record("train", 2, 0.5, {"outer.loss": 0.25}))
            fail()
        finally:
            for logger in loggers:
                logger.close()
        assert checkpoint is not None
        (checkpoint / "last.pt").write_text("state")
        return RunResult(graph.spec.name, 2, 0.5, "all steps made", (), {})

    return runner


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


def test_everything_about_a_run_is_kept(tmp_path: Path):
    memory = Memory()
    result = run_in_directory(declaration(tmp_path), tmp_path / "runs", [memory], pretend())
    folder = result.directory
    assert folder is not None
    assert folder.parent == tmp_path / "runs" / "pair"
    assert {path.name for path in folder.iterdir()} - {"git.diff"} == {
        "run.json",
        "resolved.yaml",
        "overrides.txt",
        "environment.txt",
        "origin.json",
        "plan.txt",
        "graph.svg",
        "metrics.jsonl",
        "checkpoints",
        "report.html",
        "lock",
    }
    assert language.load(folder / "resolved.yaml").spec == declaration().spec
    assert (folder / "overrides.txt").read_text() == "engine.steps=3\n"
    environment = (folder / "environment.txt").read_text()
    assert environment.startswith("command   mlograph run pair.yaml engine.steps=3\n")
    assert "Step(inner)" in (folder / "plan.txt").read_text()
    assert "<svg" in (folder / "graph.svg").read_text()
    assert json.loads((folder / "metrics.jsonl").read_text())["outer.loss"] == 0.25
    assert (folder / "checkpoints" / "last.pt").read_text() == "state"
    report = (folder / "report.html").read_text()
    assert "all steps made" in report
    assert "two problems" in report
    assert "2 of 3 updates" in report
    assert len(memory.records) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            NumericError("problems.inner: the loss is not finite"),
            "stopped: problems.inner: the loss",
        ),
        (KeyboardInterrupt(), "stopped by its user"),
        (ZeroDivisionError("a bug"), "stopped: ZeroDivisionError: a bug"),
    ],
)
def test_a_run_that_fails_leaves_a_report_that_says_why(
    error: BaseException, words: str, tmp_path: Path
):
    with pytest.raises(type(error)):
        run_in_directory(declaration(), tmp_path, [], pretend(failing(error)))
    (report,) = tmp_path.glob("pair/*/report.html")
    assert words in report.read_text()
    assert 'class="bad"' in report.read_text()


def test_a_run_that_never_began_leaves_nothing(tmp_path: Path):
    (tmp_path / "runs").mkdir()
    runner = pretend(failing(UsageError("no data")), start=False)
    with pytest.raises(UsageError, match="no data"):
        run_in_directory(declaration(), tmp_path / "runs", [], runner)
    assert list((tmp_path / "runs").iterdir()) == []


def test_what_stopped_a_run_is_not_hidden_by_a_report_that_cannot_be_written(tmp_path: Path):
    def fail() -> None:
        (folder,) = tmp_path.glob("pair/*")
        (folder / "report.html").mkdir()
        raise NumericError("not finite")

    with pytest.raises(NumericError, match="not finite"):
        run_in_directory(declaration(), tmp_path, [], pretend(fail))
