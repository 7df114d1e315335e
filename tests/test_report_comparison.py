"""The page that compares runs, and the command that writes it."""

import math
import re
import sys
from pathlib import Path

import pytest
from test_report_reading import made, train

from mlograph import cli
from mlograph.charts import DISTINCT
from mlograph.loggers.protocol import Record
from mlograph.report import compare


def final(accuracy: float) -> Record:
    return Record("validation", 100, 1.0, {"accuracy": accuracy, "loss": 1 - accuracy})


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of the table of a section, as text."""
    part = text[text.index(f"<h2>{title}</h2>") :]
    table = part[: part.index("</table>")]
    found = [re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row) for row in table.split("<tr")[1:]]
    return [[re.sub("<[^>]*>", "", cell) for cell in row] for row in found]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed, accuracy in enumerate((0.8, 0.9)):
        made(tmp_path / "pair" / f"a{seed}", *train(50), final(accuracy), seed=seed)
        made(
            tmp_path / "pair" / f"b{seed}",
            *train(50, 2.0),
            final(accuracy / 2),
            lr="0.5",
            seed=seed,
        )
    return tmp_path / "pair"


def test_settings_that_differ_stand_beside_final_numbers(folder: Path):
    text = compare([folder / "a0", folder / "b0"])
    assert rows(text, "Runs") == [
        ["", "lr", "seed", "accuracy", "loss", "updates", "time", "ended"],
        ["a0", "0.1", "0", "0.8", "0.2", "100", "1 min 05 s", "all steps made"],
        ["b0", "0.5", "0", "0.4", "0.6", "100", "1 min 05 s", "all steps made"],
    ]
    assert "Seeds taken together" not in text


def test_runs_that_differ_in_the_seed_are_taken_together(folder: Path):
    text = compare(sorted(folder.iterdir()))
    assert rows(text, "Seeds taken together") == [
        ["", "runs", "accuracy", "loss"],
        ["lr=0.1", "2", "0.85 ± 0.071", "0.15 ± 0.071"],
        ["lr=0.5", "2", "0.425 ± 0.035", "0.575 ± 0.035"],
    ]


def test_curves_lie_over_one_another_in_the_colour_of_their_setting(folder: Path):
    text = compare(sorted(folder.iterdir()))
    loss = text[text.index('aria-label="outer.loss over updates"') :]
    loss = loss[: loss.index("</svg>")]
    assert loss.count('<polyline class="curve c0"') == 2
    assert loss.count('<polyline class="curve c1"') == 2
    assert "lr=0.5 (seed 1), step 50: 0.04" in loss
    titles = re.findall("<h2>(.*)</h2>", text)
    assert titles == ["Seeds taken together", "Runs", "Validation", "outer", "inner"]


def test_short_names_of_settings_tell_them_apart(tmp_path: Path):
    one = made(tmp_path / "a", *train(3), hypergradient="{method: cg, iterations: 5}")
    two = made(tmp_path / "b", *train(3), hypergradient="{method: neumann, iterations: 9}", lr="1")
    head, first, second = rows(compare([one, two]), "Runs")
    assert head[1:4] == ["lr", "method", "iterations"]
    assert (first[1:4], second[1:4]) == (["0.1", "cg", "5"], ["1", "neumann", "9"])


def test_different_graphs_are_compared_by_name(tmp_path: Path):
    one, two = (
        made(tmp_path / "a", *train(3)),
        made(tmp_path / "b", *train(3), name="triple", lr="9"),
    )
    head, *_ = rows(compare([one, two]), "Runs")
    assert "lr" not in head
    assert re.findall(r"</svg>([^<]*)</span>", compare([one, two])) == ["pair", "triple"]


def test_a_run_that_failed_has_its_reason_and_no_numbers(folder: Path):
    made(folder / "c", seed=2, finished=False)
    text = compare(sorted(folder.iterdir()))
    assert rows(text, "Runs")[-1][3:5] == ["–", "–"]
    assert rows(text, "Seeds taken together")[1][1] == "2 of 3"


def test_more_settings_than_colours_are_left_to_the_table(tmp_path: Path):
    runs = [
        made(tmp_path / f"r{i:02d}", *train(4, i + 1.0), lr=str(i)) for i in range(DISTINCT + 3)
    ]
    text = compare(runs)
    assert len(rows(text, "Runs")) == 1 + DISTINCT + 3
    assert f"3 of {DISTINCT + 3} settings are in the table only" in text
    assert len(text) < 400_000


def test_names_lead_to_the_pages_of_the_runs(folder: Path):
    (folder / "a0" / "report.html").write_text("")
    text = compare([folder / "a0", folder / "b0"], folder.parent)
    assert re.findall('href="([^"]*)"', text) == ["pair/a0/report.html"]


def report(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["mlograph", "report", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    if ended.value.code:
        raise RuntimeError(ended.value.code)


def test_the_command_writes_a_page_for_one_run_and_one_for_several(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    report(monkeypatch, folder / "a0")
    assert capsys.readouterr().out == f"{folder / 'a0' / 'report.html'}\n"
    assert "<title>pair</title>" in (folder / "a0" / "report.html").read_text()
    report(monkeypatch, folder)
    assert capsys.readouterr().out == f"{folder / 'comparison.html'}\n"
    text = (folder / "comparison.html").read_text()
    assert "<title>pair: 4 runs</title>" in text
    assert f"mlograph report {folder}" in text
    report(monkeypatch, folder / "a0", folder / "a0", "-o", folder / "again.html")
    assert "<title>pair</title>" in (folder / "again.html").read_text()
    assert not list(folder.glob(".*"))


@pytest.mark.parametrize("words", [("nowhere",), (".", "-o", "no/such/folder/x.html")])
def test_what_cannot_be_read_or_written_is_named(
    words: tuple[str, ...],
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(folder)
    with pytest.raises(RuntimeError, match=r"[24]"):
        report(monkeypatch, *words)
    assert re.match("error: (nowhere: there is no such|no/such/folder/x.html: cannot be written)",
                    capsys.readouterr().err)  # fmt: skip


@pytest.mark.parametrize(
    ("losses", "shown"),
    [
        ((1e200, -1e200), "0 ± 1.4e+200"),
        ((1.7e308, 1.7e308), "1.7e+308 ± 0"),
        ((math.inf, -math.inf), "nan"),
        ((math.nan, 1.0), "nan"),
    ],
)
def test_final_numbers_that_no_float_can_sum_are_told(
    losses: tuple[float, float], shown: str, tmp_path: Path
):
    for seed, loss in enumerate(losses):
        told = Record("validation", 100, 1.0, {"loss": loss})
        made(tmp_path / f"a{seed}", *train(5), told, seed=seed)
    text = compare(sorted(tmp_path.iterdir()))
    assert rows(text, "Seeds taken together")[1] == ["pair", "2", shown]


def test_many_curves_of_the_largest_floats_are_drawn(tmp_path: Path):
    told = [Record("train", i, 0.1, {"outer.loss": 1.7e308 * (-1) ** i}) for i in range(400)]
    folders = [made(tmp_path / f"a{seed}", *told, seed=seed) for seed in range(9)]
    assert "nan" not in re.findall(r'points="([^"]*)"', compare(folders))


def test_why_a_run_ended_is_told_whole(tmp_path: Path):
    why = "stopped: problems.model: the loss is not finite at update 445; no parameter was changed"
    folders = [made(tmp_path / name, *train(5), final(0.5)) for name in "ab"]
    file = folders[0] / "run.json"
    file.write_text(file.read_text().replace("all steps made", why))
    assert rows(compare(folders), "Runs")[1][-1] == why


def test_the_page_of_runs_near_by_is_named_from_here(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(folder.parent)
    report(monkeypatch, "pair")
    assert capsys.readouterr().out == "pair/comparison.html\n"
