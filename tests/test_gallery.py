"""The gallery: every shipped graph runs, and `tools/gallery` knows what to compare it with."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

import mlograph
from mlograph.data.idx_files import FASHION

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "tools" / "gallery"))

from gallery.entries import ENTRIES, chosen  # noqa: E402
from gallery.entry import Baseline, Entry, Stage  # noqa: E402
from gallery.measure import Measured, Outcome, RunFailedError, measured  # noqa: E402
from gallery.table import markdown, plain, restored  # noqa: E402

GRAPHS = sorted((ROOT / "graphs").glob("*.yaml"))
OMNIGLOT = ROOT / "../shared/data/omniglot"
QUICK = {ROOT / entry.graph: entry.quick for entry in ENTRIES.values() if not entry.overrides}
# Networks as narrow and loops as short as they can be, where there is a variable for it.
SMALL = {"meta_batch": 1, "inner_steps": 1, "hidden": 4}

every_graph = pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
every_entry = pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)


@pytest.fixture(autouse=True)
def at_the_root(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Where the commands of the README are given; graphs may set threads, which is undone."""
    monkeypatch.chdir(ROOT)
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def quick(path: Path) -> list[str]:
    """Overrides with which a graph ends in seconds."""
    known = mlograph.load(path).spec.vars
    small = [f"vars.{name}={value}" for name, value in SMALL.items() if name in known]
    return [*small, *QUICK.get(path, ("engine.steps=1",))]


@every_graph
def test_every_graph_runs(path: Path, tmp_path: Path):
    if "omniglot" in path.stem and not OMNIGLOT.is_dir():
        pytest.skip("no Omniglot here")
    overrides = quick(path)
    if "fashion" in path.stem and not Path(FASHION).is_dir():
        pytest.skip("no Fashion-MNIST here")
    if "omniglot" in path.stem:
        overrides += ["engine.validate.tasks=1", "engine.validate.final_tasks=1"]
    earlier = mlograph.load(path).spec.vars.get("run")
    if earlier:
        # It goes on from a run of another graph, whose name is that of the folder of its runs.
        first = path.with_name(f"{Path(earlier).name}.yaml")
        mlograph.load(first, quick(first)).run(tmp_path, quiet=True)
        overrides.append(f"vars.run={tmp_path / first.stem}")
    result = mlograph.load(path, overrides).run(quiet=True)
    assert result.last("validation")


@every_graph
def test_every_header_says_what_the_full_scale_is(path: Path):
    """And the settings in it are settings of its graph."""
    header = path.read_text("utf-8").partition("\nmlograph: 1\n")[0]
    paragraphs = [" ".join(part.replace("\n#", " ").split()) for part in header.split("\n#\n")]
    (full,) = [text for text in paragraphs if "At full scale: " in text]
    assert len(full.partition("At full scale: ")[2]) > 60
    assert "TODO" not in header
    settings = re.findall(r"(?<!\S)\+?(?:vars|env|engine|problems)\.[\w.]+=[\w.]*\w", full)
    mlograph.load(path, settings).check()


@every_entry
def test_overrides_of_entries_fit_their_graphs(entry: Entry):
    """What is misspelt is found here, and not after hours of computing."""
    variants = [*entry.before, Stage(entry.graph, entry.overrides)]
    for baseline in entry.baselines:
        graph = baseline.graph or entry.graph
        variants += [*baseline.before, Stage(graph, (*entry.overrides, *baseline.overrides))]
    variants.append(Stage(entry.graph, (*entry.overrides, *entry.quick)))
    for stage in variants:
        overrides = [text.replace("{runs}", "runs") for text in stage.overrides]
        mlograph.load(stage.graph, overrides).check()


@every_graph
def test_no_data_are_read_before_a_run(path: Path, tmp_path: Path):
    """Graphs are checked and planned on machines that have none of their data."""
    known = mlograph.load(path).spec.vars
    elsewhere = [f"vars.root={tmp_path / 'nowhere'}"] if "root" in known else []
    graph = mlograph.load(path, elsewhere)
    graph.check()
    assert graph.plan()


def test_all_or_some_entries_can_be_chosen():
    assert list(chosen(["hpo", "maml"])) == ["maml", "hpo"]
    assert set(chosen([])) == {name for name, entry in ENTRIES.items() if not entry.needs}
    with pytest.raises(ValueError, match="no entry 'hppo'"):
        chosen(["hppo"])


HPO = Entry(
    "hpo",
    "graphs/hpo.yaml",
    "accuracy",
    (
        Baseline("untrained", measured="untrained"),
        Baseline("fixed", ("problems.penalties.optimizer.lr=0.0",)),
    ),
)


def test_an_entry_and_its_baselines_are_measured():
    found = measured(HPO, seed=3, quick=True)
    assert list(found) == ["ours", "untrained", "fixed"]
    assert 0 <= found["untrained"].value < found["fixed"].value <= 1
    assert found["ours"].value != found["fixed"].value
    assert found["fixed"].command == (
        "mlograph run graphs/hpo.yaml problems.penalties.optimizer.lr=0.0 engine.steps=2 "
        "engine.seed=3"
    )


def test_a_run_that_fails_says_why():
    broken = Entry("hpo", "graphs/hpo.yaml", "accuracy", (), overrides=("engine.stepps=3",))
    with pytest.raises(RunFailedError, match=r"(?s)mlograph run graphs/hpo.yaml.*stepps"):
        measured(broken, seed=0, quick=False)


def test_a_metric_that_is_not_measured_is_named():
    other = Entry("hpo", "graphs/hpo.yaml", "accuracies", ())
    with pytest.raises(RunFailedError, match="no validation measured 'accuracies'"):
        measured(other, seed=0, quick=True)


def outcomes(*values: float) -> Measured:
    return Measured({seed: Outcome(value, 10.0 + seed, "x") for seed, value in enumerate(values)})


def test_the_table_has_a_row_for_each_baseline():
    results = {
        "hpo": {
            "ours": outcomes(0.7, 0.8, 0.9),
            "untrained": outcomes(0.5, 0.5, 0.5),
            "fixed": outcomes(0.6, 0.7, 0.8),
        }
    }
    assert markdown(results, {"hpo": HPO}).splitlines()[2:] == [
        "| `graphs/hpo.yaml` | accuracy ↑ | untrained | 50.0% ± 0.0 | 80.0% ± 10.0 | 3 | 11 |",
        "|  |  | fixed | 70.0% ± 10.0 |  |  |  |",
    ]
    assert restored(json.loads(json.dumps(plain(results)))) == results
