"""Whatever a file says, check, plan and render answer in bounds; `tools/fuzz` tries many more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from fuzzing import BASE, MEGABYTES, SECONDS, generated, many

from mlograph import Graph, load, sweeps
from mlograph.errors import GraphError


def test_generated_files_are_answered_in_bounds():
    found = many(range(10_000, 10_150))
    # A machine that does other things as well counts more time for the same work.
    wrong = [one for one in found if one.wrong and not SECONDS < one.seconds < 4 * SECONDS]
    assert wrong == []
    assert sum(one.valid for one in found) > 10


def test_a_number_stands_for_one_file():
    assert generated(7) == generated(7) != generated(8)


def test_the_file_that_others_are_made_of_is_valid(tmp_path: Path):
    file = tmp_path / "g.yaml"
    file.write_text(BASE)
    assert load(file).check() == ()


def test_fresh_processes_stay_in_bounds_and_import_no_torch():
    code = (
        "from fuzzing import many, peak; import sys; r = many(range(60));"
        "assert 'torch' not in sys.modules;"
        "assert not any(x.wrong and x.seconds < 2 for x in r), r;"
        f"assert peak() < {MEGABYTES}, peak()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("key", "count", "most"), [("problems", 1001, "1,000"), ("edges", 12_001, "12,000")]
)
def test_more_than_anybody_could_mean_is_refused(key: str, count: int, most: str, tmp_path: Path):
    items = {
        "problems": "".join(f"  p{i}: {{}}\n" for i in range(count)),
        "edges": "  - l2u: a -> b\n" * count,
    }
    file = tmp_path / "g.yaml"
    file.write_text(f"mlograph: 1\nname: g\n{key}:\n{items[key]}")
    with pytest.raises(GraphError, match=f"{key}: {count:,} {key}, at most {most}"):
        load(file)


NESTED = """mlograph: 1
name: g
problems:
  a: {module: m.A, loss: l.f, optimizer: sgd}
  b: {module: m.A, loss: l.f, optimizer: sgd}
  c: {module: m.A, loss: l.f, optimizer: sgd}
edges:
  - l2u: c -> b
  - l2u: b -> a
  - u2l: a -> b
  - u2l: b -> c
"""


def nested(folder: Path, method: str = "cg") -> Graph:
    """`b` has a problem below that answers to it, so that its condition is a total one."""
    file = folder / "g.yaml"
    file.write_text(NESTED.replace("b: {", f"b: {{hypergradient: {method}, "))
    return load(file)


def test_total_conditions_that_take_too_long_to_plan_are_partial_and_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    before = nested(tmp_path).plan().sweeps["a"]
    assert [(visit.problem, visit.total) for visit in before.visits] == [("b", True)]
    assert not before.approximations
    monkeypatch.setattr(sweeps, "MOST_WORK", 5)
    after = nested(tmp_path).plan().sweeps["a"]
    assert [(visit.problem, visit.total) for visit in after.visits] == [("b", False)]
    assert "partial curvature of 'b'" in after.approximations[0]
    with pytest.raises(GraphError, match="too many problems depend on one another for total"):
        nested(tmp_path, "{method: cg, curvature: total}").check()


def test_hypergradients_that_cannot_be_planned_in_time_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweeps, "MOST_WORK", 2)
    with pytest.raises(GraphError, match="too many problems depend on one another") as caught:
        nested(tmp_path).check()
    assert caught.value.faults[0].location is not None
