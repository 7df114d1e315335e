"""Everything that the documentation shows is so: graphs are valid, code runs, commands print it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from pages import Block, Reader, agrees, blocks

import mlograph
from mlograph.components import ALLOWED, SHORT_NAMES
from mlograph.language import spec
from mlograph.language.methods import METHODS
from mlograph.loggers import LOGGERS

ROOT = Path(__file__).parents[1]
PAGES = sorted((ROOT / "docs").glob("*.md"))

# Blocks titled with the name of another library show its code, not ours.
PEERS = ("Betty", "TorchOpt", "higher", "learn2learn")
PEERS_PYTHON = ROOT / "tools" / "peers" / ".venv" / "bin" / "python"

# torchvision and gym need a word beside a torch that they were not built for.
IMPORTABLE = "from mlograph.envs.learn2learn_import import import_learn2learn as l; l()\n"

# What readers have time for, and tests have not.
SHORTER = {
    "engine.steps=600": "engine.steps=6",
    "600 of 600": "6 of 6",
    "engine.steps=4000": "engine.steps=80",
    "method=neumann engine.seed=2": "method=neumann engine.steps=2",
}


def of_peers(block: Block) -> bool:
    return block.title in PEERS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_can_be_followed_from_its_top(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "graphs").symlink_to(ROOT / "graphs")
    Reader(SHORTER).follow(block for block in blocks(page) if not of_peers(block))


@pytest.mark.slow
def test_a_sweep_gives_what_is_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Reader(SHORTER, sweeps=True).follow(blocks(ROOT / "docs" / "start.md"))


@pytest.mark.slow
@pytest.mark.skipif(not PEERS_PYTHON.exists(), reason="tools/peers/install was not run")
@pytest.mark.parametrize(
    "block",
    [block for page in PAGES for block in blocks(page) if of_peers(block)],
    ids=lambda block: f"{block.title}-{block.place}",
)
def test_code_of_other_libraries_runs_with_them(block: Block, tmp_path: Path):
    command = [str(PEERS_PYTHON), "-W", "ignore", "-c", IMPORTABLE + block.text]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr


ROWS = re.findall(
    r"^\| `(\w+)` \|[^|]*\| (\d+ forward[^|]*) \|",
    (ROOT / "docs" / "hypergradients.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def test_every_method_has_its_costs_in_the_table():
    # What `reptile` needs, that graph has not.
    assert {method for method, _ in ROWS} == set(METHODS) - {"reptile"}


@pytest.mark.parametrize(("method", "costs"), ROWS, ids=[method for method, _ in ROWS])
def test_the_costs_of_a_method_are_those_of_the_plan(method: str, costs: str):
    override = f"problems.model.hypergradient={method}"
    plan = " ".join(mlograph.load(ROOT / "graphs" / "hpo.yaml", [override]).explain().split())
    assert f"evaluates model: {costs}" in plan
    following = plan.split(f"evaluates model: {costs}")[1]
    assert following.startswith((" at most", " penalties:"))


KEYS = sorted(
    {
        field.alias or name
        for model in (
            spec.GraphSpec,
            spec.ProblemSpec,
            spec.Hyperparameters,
            spec.Callbacks,
            spec.EngineSpec,
            spec.EarlyStoppingSpec,
            spec.CheckpointSpec,
            spec.ExecutionSpec,
        )
        for name, field in model.model_fields.items()
    }
    | {"u2l", "l2u", "step_every", "include"}
)


@pytest.mark.parametrize("key", KEYS)
def test_every_key_is_on_the_page_of_graphs(key: str):
    page = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
    assert re.search(rf"(`|^\s*(- )?|[{{,] ?){key}(`|:\s)", page, re.MULTILINE)


def test_the_page_of_graphs_says_where_components_come_from():
    page = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
    listed = page.split("Components come from", 1)[1].split("\n\n", 1)[0]
    names = [re.sub(r"^mlograph\.", "", package) for package in ALLOWED]
    assert re.findall(r"`([\w.]+)`", listed) == names
    assert all(f"`{name}`" in page for name in (*SHORT_NAMES, *LOGGERS))


def test_every_page_is_in_the_menu():
    class Loader(yaml.SafeLoader):
        """Reads the configuration without its Python names."""

    menu = yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader)["nav"]
    assert {path for entry in menu for path in entry.values()} == {page.name for page in PAGES}


NAMED = re.compile(r"(?<![\w/])(?:tools|graphs|tests|mlograph)/[\w/.]*\w")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_files_that_are_named_exist(page: Path):
    named = NAMED.findall(page.read_text(encoding="utf-8"))
    assert not [name for name in named if not (ROOT / name).exists()]


TOOLS = sorted(
    {
        (tool, option)
        for page in PAGES
        for line in page.read_text(encoding="utf-8").splitlines()
        for tool, rest in re.findall(r"\b(tools/(?:faults|fuzz))((?: --\w+ \d+)+)", line)
        for option in re.findall(r"--\w+", rest)
    }
)


@pytest.mark.parametrize(("tool", "option"), TOOLS)
def test_tools_have_the_options_that_are_named(tool: str, option: str):
    assert f'"{option}"' in (ROOT / tool).read_text(encoding="utf-8")


def test_an_output_is_compared_but_for_what_was_left_out():
    assert agrees("a … c\n", "a b\nb c")
    assert agrees("runs/demo/2026-01-31T12-00-00/x", "runs/demo/2027-11-23T16-01-25/x")
    assert not agrees("a … c", "a b d")
    assert not agrees("0.5", "0.51")
