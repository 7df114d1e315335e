"""What a notebook shows of a graph and of a run."""

import math
import re
import sys
import warnings
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest

from mlograph import Graph
from mlograph.errors import UsageError
from mlograph.loggers.protocol import Record
from mlograph.pictures import Bars
from mlograph.result import RunResult

HOSTILE = "<script>alert(1)</script>\"'&"
RECORDS = (
    Record("baseline", 0, 0.0, {"accuracy": 0.1}, text="untrained"),
    Record("train", 1, 0.1, {"outer.loss": 2.0, "outer.lr": 0.1, "step": 7.0}),
    Record("event", 1, 0.1, text="told"),
    Record("train", 2, 0.2, {"outer.loss": 1.0, "outer.lr": 0.1}),
    Record("validation", 1, 0.2, {"accuracy": 0.5}),
    Record("validation", 2, 0.2, {"accuracy": 0.75, "loss": math.nan}),
)


def result(*records: Record, **changes: object) -> RunResult:
    fields: dict[str, object] = {
        "name": "imaml",
        "steps": 2,
        "seconds": 65.0,
        "ended": "all steps made",
        "records": records,
        "modules": {},
    }
    return RunResult(**(fields | changes))  # type: ignore[arg-type]


class Tags(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]):
        self.found.append(tag)


def test_a_result_shows_its_curves_and_what_was_learned():
    html = result(*RECORDS, pictures=(Bars(title="rates", values=(1.0,)),))._repr_html_()
    assert "imaml" in html
    assert "all steps made, 2 updates, 1 min 05 s" in html
    titles = re.findall("<figcaption><b>([^<]*)</b>", html)
    assert titles == ["validation.accuracy", "outer.loss", "rates"]


def test_a_result_changes_nothing_around_it_and_reaches_for_nothing():
    html = result(*RECORDS)._repr_html_()
    style = html[html.index("<style>") + 7 : html.index("</style>")]
    rules = re.findall(r"([^{}]+)\{", style)
    assert all(
        one.strip().startswith((".mlograph", "@media")) for rule in rules for one in rule.split(",")
    )
    assert not re.search(r"https?:|src=|@import|url\(", html)


def test_nothing_from_a_run_is_taken_for_html():
    records = [Record("train", i, 0.0, {HOSTILE: float(i)}) for i in range(3)]
    html = result(*records, name=HOSTILE, ended=HOSTILE)._repr_html_()
    assert "script" not in Tags(html).found


def test_very_many_curves_are_cut_off():
    records = [Record("train", i, 0.0, {f"x{n}": float(i) for n in range(100)}) for i in range(3)]
    html = result(*records)._repr_html_()
    assert html.count("<figure>") == 24
    assert "and 76 more" in html


def test_a_result_without_records_shows_how_it_ended():
    assert "all steps made" in result()._repr_html_()


def test_a_graph_shows_its_diagram():
    problem = {"module": "torch.nn.Identity", "optimizer": "sgd", "loss": "mse"}
    graph = Graph(
        problems={"outer": problem, "inner": problem},
        edges=[("u2l", "outer", "inner"), ("l2u", "inner", "outer")],
    )
    svg = graph._repr_svg_()
    assert svg is not None
    ElementTree.fromstring(svg)
    assert "outer" in svg
    assert graph._repr_mimebundle_()["image/svg+xml"] == svg


def test_a_graph_that_is_wrong_shows_what_is_wrong():
    problem = {"module": "torch.nn.Identity", "optimizer": "sgd", "loss": "mse"}
    graph = Graph(problems={"outer": problem, "inner": problem}, edges=[("l2u", "inner", "nobody")])
    assert graph._repr_svg_() is None
    assert "nobody" in graph._repr_mimebundle_()["text/plain"]


def test_records_become_a_table():
    pandas = pytest.importorskip("pandas")
    frame = result(*RECORDS).to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame.columns) == [
        "kind", "step", "seconds", "text",
        "accuracy", "outer.loss", "outer.lr", "values.step", "loss",
    ]  # fmt: skip
    train = frame[frame.kind == "train"]
    assert train["outer.loss"].tolist() == [2.0, 1.0]
    assert frame["text"].tolist()[:3] == ["untrained", "", "told"]
    assert frame["accuracy"].isna().sum() == 3
    assert list(result().to_pandas().columns) == ["kind", "step", "seconds", "text"]


def test_curves_become_a_figure():
    pytest.importorskip("matplotlib").use("agg")
    figure = result(*RECORDS).plot()
    assert [axis.get_title() for axis in figure.axes] == ["validation.accuracy", "outer.loss"]
    (line,) = result(*RECORDS).plot("outer.loss").axes[0].lines
    assert line.get_xydata().tolist() == [[1.0, 2.0], [2.0, 1.0]]
    from matplotlib import pyplot

    assert pyplot.get_fignums() == []


def test_a_curve_that_was_not_measured_is_named():
    pytest.importorskip("matplotlib").use("agg")
    with pytest.raises(
        UsageError, match=r"'outer.los' was not measured \(did you mean 'outer.loss'"
    ):
        result(*RECORDS).plot("outer.los")
    with pytest.raises(UsageError, match="nothing was measured"):
        result().plot()


@pytest.mark.parametrize(("package", "call"), [("matplotlib", "plot"), ("pandas", "to_pandas")])
def test_a_missing_package_is_named_with_its_extra(
    package: str, call: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.pyplot", None)
    run = result(*RECORDS)
    calls = {"plot": run.plot, "to_pandas": run.to_pandas}
    with pytest.raises(UsageError, match=rf"{package} .*: pip install 'mlograph\[notebook\]'"):
        calls[call]()


@pytest.mark.parametrize("name", ["$\\frac$", "a" * 5000, "\x1b[31m", "損失", ""])
def test_a_name_is_drawn_as_it_is_and_no_formula(name: str, tmp_path: Path):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    told = [Record("train", step, 0.0, {name: float(step)}) for step in (1, 2)]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        drawn = result(*told).plot(name)
        drawn.savefig(tmp_path / "p.png")
    (axis,) = drawn.axes
    assert axis.get_title().isprintable()
    assert len(axis.get_title()) < 80
    pyplot.close(drawn)


def test_numbers_that_reach_over_all_floats_are_drawn(tmp_path: Path):
    pytest.importorskip("matplotlib")
    told = [Record("train", step, 0.0, {"loss": 1.7e308 * (-1) ** step}) for step in range(9)]
    result(*told).plot("loss").savefig(tmp_path / "p.png")


def test_a_console_shows_a_result_in_one_line(tmp_path: Path):
    told = repr(result(*RECORDS * 1000))
    assert told == "<RunResult of 'imaml': all steps made, 2 updates in 1 min 05 s>"
    assert "runs/x" in repr(result(*RECORDS, directory=Path("runs/x")))
