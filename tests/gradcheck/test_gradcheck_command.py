"""`mlograph gradcheck`, as it is typed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mlograph import cli

GRAPH = """\
mlograph: 1
name: ridge
problems:
  outer:
    module: {_target_: mlograph.nn.Tensors, log_penalty: [6], init: -1.0}
    optimizer: sgd
    data: {_target_: mlograph.data.full_batch, dataset: DATA}
    loss: {_target_: mlograph.losses.binary_cross_entropy, model: inner}
  inner:
    module: {_target_: mlograph.nn.MLP, sizes: [6, 1]}
    optimizer: {_target_: torch.optim.SGD, lr: 2.0}
    data: {_target_: mlograph.data.full_batch, dataset: DATA}
    loss:
      - {_target_: mlograph.losses.binary_cross_entropy, model: inner}
      - {_target_: mlograph.losses.weighted_l2, model: inner, penalties: outer}
    unroll_steps: 40
    hypergradient: METHOD
edges: [{u2l: outer -> inner}, {l2u: inner -> outer}]
engine: {steps: 3}
"""
DATA = "{_target_: mlograph.data.sparse_logistic, split: train, features: 6}"

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    write(tmp_path, "cg")
    return tmp_path


def write(folder: Path, method: str) -> None:
    (folder / "ridge.yaml").write_text(GRAPH.replace("DATA", DATA).replace("METHOD", method))


@pytest.fixture
def gradcheck(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlograph", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return lambda *arguments: run("gradcheck", "ridge.yaml", *arguments)


FAST = ("--methods", "cg, exact", "--directions", "1", "--reference", "solved")


def test_what_agrees_passes(gradcheck: Command):
    code, out, err = gradcheck(*FAST)
    assert code == 0
    assert "error" not in err
    assert out.startswith("ridge: hypergradient of outer (6 parameters) through inner (7)")
    assert "* cg (iterations 10)" in out
    assert "verdict     passed: cg (iterations 10) agrees with 'solved'" in out


def test_what_does_not_agree_ends_with_3(gradcheck: Command, folder: Path):
    write(folder, "identity")
    code, out, _ = gradcheck(*FAST)
    assert code == 3
    assert "FAILED: identity differs from 'solved'" in out


def test_a_neumann_step_that_is_too_long_is_measured(gradcheck: Command, folder: Path):
    write(folder, "{method: neumann, alpha: 30.0}")
    code, out, _ = gradcheck(*FAST)
    assert code == 3
    assert "neumann diverges through 'inner': alpha·λmax =" in out
    assert "use alpha: auto" in " ".join(out.split())


def test_a_report_can_be_kept(gradcheck: Command, folder: Path):
    code, out, _ = gradcheck(*FAST, "-o", "report.txt")
    assert code == 0
    assert (folder / "report.txt").read_text().splitlines()[0] == out.splitlines()[0]
    code, _, _ = gradcheck(*FAST, "-o", "report.json")
    read = json.loads((folder / "report.json").read_text())
    assert (code, read["passed"], read["graph"]) == (0, True, "ridge")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--methods", "cgg"), "no method 'cgg' (did you mean 'cg'?)"),
        (("--reference", "sloved"), "no reference 'sloved' (did you mean 'solved'?)"),
        (("--precision", "float32"), "no precision 'float32' (known: float64, graph)"),
        (("--of", "outre"), "no problem 'outre' (did you mean 'outer'?)"),
        (("--of", "inner"), "'inner' has no hypergradient: nothing below it answers to it"),
        (("--directions", "0"), "directions: expected 1 or more, got 0"),
        (("--budget", "0"), "budget: expected a positive number, got 0"),
        (("--tol", "nan"), "tol: expected a positive number, got nan"),
        (("-o", "no/such/folder/x.json"), "no/such/folder/x.json: cannot be written: there is no"),
        (("--from", "nowhere"), "nowhere: "),
        (("--from", "ridge.yaml"), "ridge.yaml: "),
        (("--from", "."), ".: no "),
    ],
)
def test_what_cannot_be_meant_is_told(gradcheck: Command, arguments: tuple[str, ...], message: str):
    code, out, err = gradcheck(*arguments)
    assert (code, out) == (2, "")
    assert err.startswith(f"error: {message}")
    assert len(err.splitlines()) == 1


def test_a_problem_alone_has_nothing_to_check(gradcheck: Command, folder: Path):
    (folder / "ridge.yaml").write_text(
        "mlograph: 1\nname: alone\nproblems:\n  one:\n    module: {_target_: mlograph.nn.Tensors, "
        "x: [3]}\n    optimizer: sgd\n    loss: {_target_: mlograph.losses.mse, model: one}\n"
    )
    code, _, err = gradcheck()
    assert code == 2
    assert err.startswith("error: 'alone' has no hypergradient to check: no problem has another")


def test_help_shows_an_example(gradcheck: Command):
    code, out, _ = gradcheck("--help")
    assert code == 0
    assert "Example: mlograph gradcheck graphs/hpo.yaml --methods cg,neumann,unroll" in out


class TestFromARun:
    @pytest.fixture
    def run(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Path:
        monkeypatch.setattr(sys, "argv", ["mlograph", "run", "ridge.yaml", "-q", "-o", "runs"])
        cli_main_ends()
        capsys.readouterr()
        return next((folder / "runs" / "ridge").iterdir())

    def test_a_check_begins_at_its_end(self, gradcheck: Command, run: Path):
        code, out, _ = gradcheck(*FAST, "--from", str(run))
        assert code == 0
        assert f"from the end of {run}" in " ".join(out.split())
        assert "passed: cg" in out

    def test_a_file_of_it_will_do(self, gradcheck: Command, run: Path):
        file = max(file for file in (run / "checkpoints").iterdir() if file.is_file())
        code, _, _ = gradcheck(*FAST, "--from", str(file))
        assert code == 0

    def test_another_graph_is_refused(self, gradcheck: Command, run: Path, folder: Path):
        text = (folder / "ridge.yaml").read_text()
        (folder / "ridge.yaml").write_text(text.replace("6", "7"))
        code, _, err = gradcheck(*FAST, "--from", str(run))
        assert code == 2
        assert "was saved by another graph" in err


def cli_main_ends() -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
