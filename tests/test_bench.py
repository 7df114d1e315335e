"""What `tools/bench` times: everyone must do the same, and the table must say what was measured."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

TOOLS = Path(__file__).resolve().parents[1] / "tools"
sys.path += [str(TOOLS / "bench"), str(TOOLS / "peers")]

from benchmark.libraries import LIBRARIES, load  # noqa: E402
from benchmark.libraries.protocol import Job, Session, UnsupportedError  # noqa: E402
from benchmark.measure import Measured  # noqa: E402
from benchmark.problems import PROBLEMS, chosen, tiny  # noqa: E402
from benchmark.reference import hypergradient  # noqa: E402
from benchmark.table import markdown  # noqa: E402
from benchmark.worker import Checked, Sample, Unable  # noqa: E402

# What needs no peer.
OURS = [
    pytest.param(name, marks=[pytest.mark.slow] if "compiled" in name else [])
    for name, (package, *_) in LIBRARIES.items()
    if package in {"mlograph", "torch"}
]

# Narrow and wide networks are the same when they are tiny.
DISTINCT = [*{tiny(problem): name for name, problem in PROBLEMS.items()}.values()]

each_problem = pytest.mark.parametrize("problem", DISTINCT)


@pytest.fixture(autouse=True)
def double() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def flat(session: Session) -> Tensor:
    return torch.cat([x.detach().flatten() for x in session.upper])


@each_problem
@pytest.mark.parametrize("name", OURS)
def test_the_first_update_is_that_of_the_reference(name: str, problem: str):
    job = Job(tiny(PROBLEMS[problem]), "cpu", plainly=True)
    library = load(name)
    assert library is not None
    try:
        session = library.session(job)
    except UnsupportedError:
        assert name in {"mlograph, vectorized", "mlograph, processes", "mlograph, both"}
        assert not job.setting.restarts
        return
    before = flat(session)
    session.update()
    expected = hypergradient(job)
    assert expected.norm() > 1e-3
    assert (before - flat(session) - expected).norm() < 1e-9 * expected.norm()


@each_problem
def test_updates_go_on_as_those_of_the_loop_do(problem: str):
    job = Job(tiny(PROBLEMS[problem]), "cpu")
    ends = []
    for name in ("mlograph", "loop"):
        library = load(name)
        assert library is not None
        session = library.session(job)
        for _ in range(3):
            session.update()
        ends.append(flat(session))
    assert torch.allclose(*ends, rtol=0, atol=1e-8)


def test_the_networks_of_mlograph_and_of_torch_are_one_function():
    setting = tiny(PROBLEMS["maml-16"]).setting
    shipped, plain = setting.upper(shipped=True), setting.upper(shipped=False)
    images, _ = setting.episodes()[0].upper
    assert [*map(type, plain)] != [*map(type, shipped.modules())]
    assert torch.allclose(shipped(images), plain(images), rtol=0, atol=1e-12)


def test_problems_are_chosen_by_how_their_names_begin():
    assert [*chosen(["maml", "imaml-cg"])] == ["imaml-cg-16", "imaml-cg-64", "maml-16", "maml-64"]
    assert [*chosen([])] == [*PROBLEMS]
    with pytest.raises(ValueError, match="no problem 'mamml'"):
        [*chosen(["mamml"])]


def taking(*seconds: float, error: float = 1e-12, note: str = "") -> Measured:
    return Measured(Checked("1.0", error, note), [Sample(x, x, 2_000_000) for x in seconds])


def test_a_ratio_is_the_median_of_those_within_a_round():
    # A machine that was three times slower in the second round.
    assert taking(2.0, 6.0, 2.2).ratio(taking(1.0, 3.0, 1.0)) == 2.0


def test_the_table_says_who_computed_something_else_and_who_could_not():
    found = {
        "mlograph": taking(0.1, 0.1, 0.1),
        "slow": taking(0.25, 0.25, 0.25),
        "wrong": taking(0.05, 0.05, 0.05, error=0.5, note="drops a term"),
        "other": Unable("cannot", "no such method"),
    }
    assert markdown({"maml": found}).splitlines() == [
        "| problem | library | ms an update | × mlograph | peak MB | difference |",
        "| --- | --- | --: | --: | --: | --: |",
        "| maml | mlograph | 100 | 1.00 | 2 | 1e-12 |",
        "| maml | slow | 250 | 2.50 | 2 | 1e-12 |",
        "| maml | wrong | 50 | 0.50 | 2 | **0.5** (1) |",
        "| maml | other | cannot (2) |  |  |  |",
        "",
        "1. wrong: drops a term",
        "2. other: no such method",
    ]
