"""The command line."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mlograph
from mlograph import cli, language
from mlograph.scaffold import TEMPLATES

PAIR = """\
mlograph: 1
name: pair
problems:
  outer: {module: torch.nn.Identity, optimizer: sgd, loss: mse}
  inner: {module: torch.nn.Identity, optimizer: sgd, loss: mse}
edges: [{u2l: outer -> inner}, {l2u: inner -> outer}]
"""

Command = Callable[..., tuple[int, str, str]]

COMMANDS = ("check", "plan", "render", "run", "resume", "sweep", "schema", "new")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pair.yaml").write_text(PAIR)
    return tmp_path


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mlograph", *arguments])
        with pytest.raises(SystemExit) as caught:
            cli.main()
        out, err = capsys.readouterr()
        return caught.value.code or 0, out, err

    return run


def process(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(words, capture_output=True, text=True, check=False, **options)


MLOGRAPH = (sys.executable, "-m", "mlograph")


@pytest.fixture
def root(monkeypatch: pytest.MonkeyPatch) -> str:
    """Where mlograph lies, for processes that start in another folder."""
    root = str(Path(mlograph.__file__).parents[1])
    monkeypatch.setenv("PYTHONPATH", root)
    return root


def test_version(command: Command):
    assert command("--version") == (0, f"mlograph {mlograph.__version__}\n", "")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_shows_an_example(name: str, command: Command):
    code, out, _ = command(name, "--help")
    assert code == 0
    assert f"Example: mlograph {name} " in out


def test_help_names_every_command(command: Command):
    code, out, _ = command("--help")
    assert code == 0
    for name in COMMANDS:
        assert re.search(rf"^\W*{name}\b", out, re.MULTILINE)


@pytest.mark.parametrize("arguments", [["chek"], ["plan"], ["check", "--nope"], ["run", "--allow"]])
def test_a_wrong_call_ends_with_2(arguments: list[str], command: Command):
    code, out, err = command(*arguments)
    assert code == 2
    assert out == ""
    assert "Traceback" not in err


def test_check_answers_in_one_line_a_file(folder: Path, command: Command):
    (folder / "one.yaml").write_text(PAIR.split("  inner", maxsplit=1)[0])
    assert command("check", "pair.yaml", "one.yaml") == (
        0,
        "pair.yaml: OK, 2 problems, 2 edges, 2 levels\none.yaml: OK, 1 problem, 0 edges, 1 level\n",
        "",
    )


def test_check_looks_at_all_files_and_tells_places(folder: Path, command: Command):
    (folder / "bad.yaml").write_text(PAIR.replace("u2l: outer", "u2l: outr"))
    code, out, err = command("check", "bad.yaml", "no.yaml", "pair.yaml", "engine.steps=2")
    assert code == 2
    assert out == "pair.yaml: OK, 2 problems, 2 edges, 2 levels\n"
    first, *_, last = err.splitlines()
    assert first == ("bad.yaml:6:15: edges[0].u2l: no problem 'outr' (did you mean 'outer'?)")
    assert last == "error: 'no.yaml': there is no such file (did you mean 'bad.yaml'?)"
    assert "Traceback" not in err


def test_every_command_says_that_a_file_is_missing(folder: Path, command: Command):
    for name in ("check", "plan", "render", "run"):
        code, _, err = command(name, "pairs.yaml")
        assert code == 2
        assert err == ("error: 'pairs.yaml': there is no such file (did you mean 'pair.yaml'?)\n")


def test_check_tells_faults_of_form_names_ways_and_rates_in_one_pass(
    folder: Path, command: Command
):
    more = (
        "  top: {module: m, optimizer: sgd, loss: mse, unequal_unroll: true}\n"
        "  left: {module: m, optimizer: sgd, loss: mse, unroll_steps: 2}\n"
        "  right: {module: m, optimizer: sgd, loss: mse}\n"
        "  base: {module: m, optimizer: sgd, loss: mse, freeze: 3}\n"
        "edges:\n  - l2u: base -> left\n  - l2u: base -> right\n  - l2u: left -> top\n"
        "  - l2u: right -> top\n  - u2l: outer -> inner\n  - u2l: top -> bass\n"
    )
    (folder / "bad.yaml").write_text(PAIR.split("edges:", maxsplit=1)[0] + more)
    code, out, err = command("check", "bad.yaml", "engine.sed=1")
    told = [line for line in err.splitlines() if not line.startswith("    ")]
    assert (code, out) == (2, "")
    assert [line.split(" (")[0][:56] for line in told] == [
        "bad.yaml:9:56: problems.base.freeze: expected a text or ",
        "bad.yaml:12:10: edges[1].l2u: rates without a solution: ",
        "bad.yaml:15:10: edges[4].u2l: no hypergradient could ret",
        "bad.yaml:16:10: edges[5].u2l: no problem 'bass'",
        "overrides:1:8: engine.sed: unknown key",
    ]


def test_overrides_apply_to_every_file(folder: Path, command: Command):
    (folder / "other.yaml").write_text(PAIR)
    code, out, err = command("check", "pair.yaml", "other.yaml", "engine.stps=2")
    assert code == 2
    assert out == ""
    fault = "overrides:1:8: engine.stps: unknown key (did you mean 'steps'?)"
    told = [line for line in err.splitlines() if "overrides" in line]
    assert told == [f"pair.yaml: {fault}", f"other.yaml: {fault}"]


def test_what_is_wrong_with_the_only_file_needs_no_other_name(folder: Path, command: Command):
    _, _, err = command("check", "pair.yaml", "engine.stps=2")
    assert err.startswith("overrides:1:8: ")


def test_a_file_that_looks_like_an_override_is_named_with_its_folder(
    folder: Path, command: Command
):
    (folder / "a=b.yaml").write_text(PAIR)
    assert command("check", "./a=b.yaml")[0] == 0
    code, _, err = command("check", "a=b.yaml")
    assert (code, err) == (2, "error: no graph file given\n")


def test_warnings_go_to_standard_error(folder: Path, command: Command):
    extra = "  alone: {module: torch.nn.Identity, optimizer: sgd, loss: mse}\nedges:"
    (folder / "pair.yaml").write_text(PAIR.replace("edges:", extra) + "engine: {of: outer}\n")
    code, out, err = command("check", "pair.yaml")
    assert code == 0
    assert out == "pair.yaml: OK, 3 problems, 2 edges, 2 levels\n"
    assert err.startswith("warning: pair.yaml:6:")


def test_plan_prints_the_plan_in_words(folder: Path, command: Command):
    code, out, _ = command("plan", "pair.yaml", "problems.inner.unroll_steps=8")
    assert code == 0
    assert out == mlograph.load("pair.yaml", ["problems.inner.unroll_steps=8"]).explain()
    assert "8 × Step(inner)" in out


def test_render_prints_text_and_writes_files(folder: Path, command: Command):
    graph = mlograph.load("pair.yaml")
    assert command("render", "pair.yaml") == (0, graph.render("dot").decode(), "")
    code, out, _ = command("render", "pair.yaml", "--format", "mermaid")
    assert (code, out) == (0, graph.render("mermaid").decode())
    assert command("render", "pair.yaml", "-o", "g.svg") == (0, "", "")
    assert (folder / "g.svg").read_bytes() == graph.render("svg")
    code, _, err = command("render", "pair.yaml", "-f", "mermad")
    assert (code, err) == (2, "error: no format 'mermad' (did you mean 'mermaid'?)\n")
    assert sorted(path.name for path in folder.iterdir()) == ["g.svg", "pair.yaml"]


def test_schema_is_json(command: Command):
    code, out, _ = command("schema")
    assert code == 0
    assert json.loads(out) == language.json_schema()


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_new_graph_runs_at_once(template: str, folder: Path, command: Command):
    code, out, _ = command("new", "example", "--template", template)
    assert (code, out) == (0, "example.yaml\nexample.py\ngraph.schema.json\n")
    assert (folder / "graph.schema.json").read_text("utf-8") == language.schema_text()
    first = (folder / "example.yaml").read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=graph.schema.json"
    assert command("check", "example.yaml")[0] == 0
    code, out, err = command(
        "run", "example.yaml", "engine.steps=3", "engine.log_every=1", "engine.device=cpu"
    )
    assert (code, err) == (0, "")
    *_, ended, report = out.splitlines()
    assert ended == "example: all steps made"
    assert (folder / report).is_file()
    losses = [
        json.loads(line)
        for line in (folder / report).with_name("metrics.jsonl").read_text().splitlines()
    ]
    assert len(losses) == 3


def test_new_makes_its_folder_and_replaces_nothing(folder: Path, command: Command):
    files = "sub/example.yaml\nsub/example.py\nsub/graph.schema.json\n"
    assert command("new", "example", "-d", "sub") == (0, files, "")
    (folder / "sub" / "example.yaml").unlink()
    code, out, err = command("new", "example", "-d", "sub")
    assert (code, out, err) == (2, "", "error: sub/example.py exists already\n")
    assert not (folder / "sub" / "example.yaml").exists()


def test_new_replaces_an_older_schema_and_nobody_elses(folder: Path, command: Command):
    schema = folder / "graph.schema.json"
    schema.write_text('{"title": "mlograph graph file"}')
    assert command("new", "one")[0] == 0
    assert schema.read_text("utf-8") == language.schema_text()
    schema.write_text("{}")
    assert command("new", "two")[0] == 0
    assert schema.read_text() == "{}"


@pytest.mark.parametrize("name", ["my graph", "1st", "../up", "a/b", "class", "x.y", "é", ""])
def test_new_refuses_names_that_python_could_not_import(name: str, folder: Path, command: Command):
    code, _, err = command("new", "--", name)
    assert code == 2
    assert "cannot name a Python file" in err
    assert sorted(path.name for path in folder.iterdir()) == ["pair.yaml"]


def test_new_knows_its_templates(folder: Path, command: Command):
    code, _, err = command("new", "x", "-t", "bilvel")
    assert (code, err) == (2, "error: no template 'bilvel' (did you mean 'bilevel'?)\n")


def test_run_writes_where_it_is_told_or_nothing(folder: Path, command: Command):
    command("new", "example")
    steps = "engine.steps=1"
    assert command("run", "example.yaml", steps, "--quiet", "--no-run-dir") == (0, "", "")
    assert not (folder / "runs").exists()
    assert command("run", "example.yaml", steps, "--quiet", "-o", "there") == (0, "", "")
    assert len(list(folder.glob("there/example/*/report.html"))) == 1


def test_run_imports_nothing_that_was_not_allowed(
    folder: Path, command: Command, monkeypatch: pytest.MonkeyPatch
):
    (folder / "elsewhere").mkdir()
    (folder / "elsewhere" / "strange_losses.py").write_text(
        "def lost():\n    raise SystemExit(9)\n"
    )
    monkeypatch.syspath_prepend(str(folder / "elsewhere"))
    (folder / "pair.yaml").write_text(PAIR.replace("loss: mse", "loss: strange_losses.lost"))
    code, _, err = command("run", "pair.yaml", "--no-run-dir")
    assert code == 2
    assert "--allow strange_losses" in err
    assert "strange_losses" not in sys.modules


def test_nothing_a_file_says_is_obeyed_by_the_terminal(folder: Path, command: Command):
    (folder / "bad.yaml").write_text(PAIR + '"\\e]0;x\\a[red]k": 1\n')
    code, _, err = command("check", "bad.yaml")
    assert code == 2
    assert "\x1b" not in err
    assert "\x07" not in err
    assert "[red]k" in err


def test_a_terminal_that_knows_few_characters_gets_the_others_written_out(
    folder: Path, root: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("PYTHONIOENCODING", "ascii")
    done = process(*MLOGRAPH, "plan", "pair.yaml", "problems.inner.unroll_steps=8", cwd=folder)
    assert done.returncode == 0
    assert r"8 \xd7 Step" in done.stdout


def test_check_plan_and_render_do_not_import_torch(folder: Path, root: str):
    script = """
import sys
from mlograph import cli
for command in ("check", "plan", "render"):
    sys.argv = ["mlograph", command, "pair.yaml"]
    try:
        cli.main()
    except SystemExit as end:
        assert not end.code
sys.exit("torch was imported" if "torch" in sys.modules else 0)
"""
    done = process(sys.executable, "-c", script, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Step(inner)" in done.stdout


def test_a_reader_that_goes_away_is_no_error(root: str):
    pipe = f"{' '.join(MLOGRAPH)} schema | true; exit ${{PIPESTATUS[0]}}"
    done = process("bash", "-c", pipe)
    assert done.stderr == ""
    assert done.returncode == 1


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on(
    number: signal.Signals, code: int, folder: Path, command: Command, root: str
):
    command("new", "example")
    child = subprocess.Popen(
        [*MLOGRAPH, "run", "example.yaml", "engine.steps=1000000", "engine.log_every=1"],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.glob("runs/example/*/metrics.jsonl")):
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.05)
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == code
    (report,) = folder.glob("runs/example/*/report.html")
    again = f"mlograph resume {report.parent.relative_to(folder)}"
    assert re.fullmatch(rf"stopped by {number.name} after \d+ updates; go on with: {again}\n", err)
    assert f"stopped by {number.name} after" in report.read_text()
