"""Whole checks on graphs whose hypergradients are known."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from builders import Batches, failure, graph, line, pair, points, problem
from cases import (
    CASES,
    GENERAL,
    RATE,
    Case,
    Maml,
    Point,
    inverse,
    nested,
    numbers,
    positive,
    quadratic,
    relative_error,
    series,
)
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from mlograph import Graph, hypergradients
from mlograph.components import Imports
from mlograph.gradcheck import AS_RUN, SOLVED, Settings, UpperReport
from mlograph.gradcheck.differences import directions
from mlograph.gradcheck.place import reach
from mlograph.gradcheck.report import Report
from mlograph.gradcheck.text import verdict
from mlograph.gradcheck.variants import Variant, apart
from mlograph.hypergradients.protocol import Pulled, Response
from mlograph.language.methods import Exact
from mlograph.trees import Vector, flatten, scale


def checked(declared: Graph, *, methods: tuple[str, ...] = ("exact",), **rest: Any) -> UpperReport:
    """The check of one hypergradient, with few methods and no repetition."""
    settings = Settings(methods=methods, repeats=1, **{"directions": 2, "tol": 1e-6, **rest})
    (report,) = declared.gradcheck(settings).uppers
    return report


def expected(closed: Tensor, point: Tensor) -> Tensor:
    """The slopes of a known gradient along the directions of a check."""
    like = dict(Point(point).named_parameters())
    return torch.stack([flatten(d) @ closed for d in directions(like, 2, seed=0)])


def slopes(report: UpperReport, kind: str) -> Tensor:
    found = next(one for one in report.references if one.kind == kind)
    assert found.holds, found.trouble
    return torch.tensor(found.slopes, dtype=torch.float64)


class TestReferences:
    """Finite differences owe nothing to any hypergradient method."""

    @pytest.mark.parametrize("case", [*CASES, *GENERAL], ids=lambda case: case.name)
    def test_the_solved_one_is_the_closed_form(self, case: Case):
        truth = nested(partial=False) if case.name == "nested, partial" else case
        report = checked(case.graph("exact"), uppers=(case.upper,), references=(SOLVED,))
        known = expected(truth.closed_form(inverse), case.points[case.upper])
        assert relative_error(slopes(report, SOLVED), known) < 1e-7
        assert report.passed == (truth is case)
        assert (report.own.error(SOLVED) < 1e-6) == (truth is case)

    def test_it_does_not_matter_where_the_loop_ended(self):
        case = quadratic()
        away = Case(
            **{**vars(case), "points": {**case.points, "inner": case.points["inner"] + 1.0}}
        )
        report = checked(away.graph("exact"))
        known = expected(case.closed_form(inverse), case.points["outer"])
        assert relative_error(slopes(report, SOLVED), known) < 1e-7
        assert report.own.at_rest < 1e-6
        assert report.own.error(SOLVED) > 0.1
        assert not report.passed

    @pytest.mark.parametrize("weight", [0.0, 0.7])
    def test_the_one_as_run_goes_through_the_loop_and_its_start(self, weight: float):
        maml = Maml(weight=weight)
        report = checked(maml.graph("unroll"), methods=("first_order",))
        known = expected(maml.unrolled, maml.u)
        assert relative_error(slopes(report, AS_RUN), known) < 1e-9
        assert report.passed
        assert report.judged_by == AS_RUN
        assert report.rows[1].error(AS_RUN) > 0.01

    def test_both_are_there_where_both_make_sense(self):
        report = checked(Maml(weight=0.7).graph("cg"), methods=("unroll",))
        errors = {row.method: row.errors for row in report.rows}
        assert errors["cg"].keys() == errors["unroll"].keys() == {SOLVED, AS_RUN}
        assert errors["unroll"][AS_RUN] < 1e-9
        assert errors["cg"][AS_RUN] > 0.1
        assert report.own.at_rest < 1e-6 < report.own.error(SOLVED)

    def test_a_solution_that_does_not_depend_on_the_upper_problem_is_none(self):
        report = checked(Maml(weight=0.0).graph("unroll"), methods=("cg",))
        end = report.references[0]
        assert end.trouble == (
            "nothing to differentiate: an implicit method differentiates the loss of 'inner', "
            "which does not read 'outer'; it does not see that the inner loop starts there"
        )
        assert report.rows[1].failure.startswith("'cg' differentiates the loss of 'inner', which")

    def test_a_loss_that_cannot_be_repeated_is_no_reference(self):
        calls: list[int] = []

        def restless(upper: Any, lower: Any) -> Tensor:
            calls.append(1)
            return upper.parameters()[0].sum() * len(calls) + lower.parameters()[0].sum()

        report = checked(scalar(restless, bowl))
        assert all("the same evaluation gives" in one.trouble for one in report.references)
        assert not report.passed

    def test_kinks_are_passed_by_in_short_steps(self):
        def kinked(upper: Any, lower: Any) -> Tensor:
            steps = (1e4 * upper.parameters()[0]).sin().abs().sum()
            return lower.parameters()[0].sum() + steps

        report = checked(scalar(kinked, bowl), tol=0.01)
        assert all(one.holds for one in report.references)
        assert report.passed

    def test_noise_is_no_reference(self):
        def noisy(upper: Any, lower: Any) -> Tensor:
            u = upper.parameters()[0]
            return lower.parameters()[0].sum() + 1e-3 * (1e12 * u.detach()).sin().sum() + u.sum()

        report = checked(scalar(noisy, bowl), tol=0.01)
        assert all("contradict each other" in one.trouble for one in report.references)
        assert verdict(Report("g", "", "float64", 0.01, (report,)), report) == (
            "undecided: there is nothing to compare exact with"
        )

    def test_a_count_is_no_reference(self):
        def counted(upper: Any, lower: Any) -> Tensor:
            u = upper.parameters()[0]
            return (1e3 * u.detach()).round().sum() + 0.0 * (u + lower.parameters()[0]).sum()

        report = checked(scalar(counted, bowl))
        assert {one.trouble for one in report.references} == {
            "the loss moves in jumps, as a count does, so it has no slope to compare with"
        }

    def test_a_problem_without_a_minimum_is_told(self):
        def downhill(lower: Any, upper: Any) -> Tensor:
            return (lower.parameters()[0] * upper.parameters()[0].exp()).sum()

        report = checked(scalar(lambda lower, upper: lower.parameters()[0].sum(), downhill))
        assert "'lower' could not be solved" in report.references[0].trouble

    def test_a_saddle_is_told(self):
        report = checked(scalar(lambda lower, upper: lower.parameters()[0].sum(), saddle))
        assert [note.split(":")[0] for note in report.notes] == ["'lower' is not convex"]


def bowl(lower: Any, upper: Any) -> Tensor:
    return (lower.parameters()[0] - upper.parameters()[0]).square().sum()


def saddle(lower: Any, upper: Any) -> Tensor:
    """At rest where it is not least, seen from a point on the ridge."""
    x = lower.parameters()[0]
    return (x[0] - upper.parameters()[0][0]).square() - 0.0 * x[1] - (x[1] - x[1].detach()) ** 2


def scalar(upper_loss: Any, lower_loss: Any) -> Graph:
    """Two numbers above two numbers."""
    return pair(
        problem(Point(numbers(3, seed=1)), named(upper_loss)),
        problem(Point(numbers(3, seed=2)), named(lower_loss), hypergradient="exact"),
    )


def named(loss: Any) -> Any:
    def call(upper: Any, lower: Any) -> Tensor:
        first = _Flat(upper), _Flat(lower)
        return loss(upper=first[0], lower=first[1])

    return call


class _Flat:
    """A view of a point whose only parameter is all of it."""

    def __init__(self, view: Any) -> None:
        self._view = view

    def parameters(self) -> tuple[Tensor]:
        return (self._view(),)


@dataclass(frozen=True)
class Mistaken:
    """A method that is right but for a factor."""

    factor: float

    def pull(self, response: Response, adjoint: Vector, targets: tuple[str, ...]) -> Pulled:
        right = hypergradients.METHODS["exact"](Exact()).pull(response, adjoint, targets)
        return Pulled({name: scale(self.factor, x) for name, x in right.sent.items()})


def mistaken(monkeypatch: pytest.MonkeyPatch, factor: float) -> None:
    """`darts` becomes a method that is exact but for a factor."""
    methods: Any = hypergradients.METHODS
    monkeypatch.setitem(methods, "darts", lambda options: Mistaken(factor))


class TestVerdict:
    @pytest.mark.parametrize("case", CASES[:3], ids=lambda case: case.name)
    @pytest.mark.parametrize("factor", [1.0, -1.0, 0.5])
    def test_a_wrong_sign_is_caught(
        self, case: Case, factor: float, monkeypatch: pytest.MonkeyPatch
    ):
        mistaken(monkeypatch, factor)
        report = checked(case.graph("darts"))
        assert report.passed == (factor == 1.0)
        assert (report.own.error(SOLVED) > 0.1) == (factor != 1.0)
        assert report.rows[1].error(SOLVED) < 1e-6

    @pytest.mark.parametrize("case", CASES[3:6], ids=lambda case: case.name)
    def test_a_wrong_factor_is_caught_in_any_depth(
        self, case: Case, monkeypatch: pytest.MonkeyPatch
    ):
        mistaken(monkeypatch, 0.5)
        report = checked(case.graph("darts"), uppers=(case.upper,), references=(SOLVED,))
        assert report.own.error(SOLVED) > 0.1
        assert report.rows[1].error(SOLVED) < 1e-6

    def test_every_upper_problem_is_checked(self):
        report = (
            nested(partial=False)
            .graph("exact")
            .gradcheck(Settings(methods=("exact",), directions=1, repeats=1, tol=1e-6))
        )
        assert [one.upper for one in report.uppers] == ["middle", "top"]
        assert report.passed

    def test_two_leaders_take_each_other_as_given(self):
        A, B, C = positive(4, seed=1), numbers(4, 3, seed=2), numbers(4, 3, seed=3)

        def follow(follower: Any, first: Any, second: Any) -> Tensor:
            return 0.5 * follower() @ A @ follower() - follower() @ (B @ first() + C @ second())

        def lead(follower: Any, first: Any) -> Tensor:
            return follower().square().sum() + first().square().sum()

        def rival(follower: Any, second: Any) -> Tensor:
            return (follower() - 1.0).square().sum() + second().square().sum()

        declared = graph(
            {
                "first": problem(Point(numbers(3, seed=4)), lead),
                "second": problem(Point(numbers(3, seed=5)), rival),
                "follower": problem(
                    Point(numbers(4, seed=6)), follow, unroll_steps=5, hypergradient="exact"
                ),
            },
            edges=[
                ("u2l", "first", "follower"),
                ("u2l", "second", "follower"),
                ("l2u", "follower", "first"),
                ("l2u", "follower", "second"),
            ],
            engine={"of": "first"},
        )
        settings = Settings(methods=("unroll",), directions=1, repeats=1)
        for report in declared.gradcheck(settings).uppers:
            exact, unroll = report.rows
            assert exact.at_rest < 1e-6
            assert unroll.error(AS_RUN) < 1e-6

    def test_a_loop_that_moves_by_the_method_itself_has_a_reference_of_its_own(self):
        case = nested(partial=False)
        report = checked(case.graph("exact"), methods=("unroll",), uppers=("top",))
        assert report.rows[1].error(AS_RUN) < 1e-9

    def test_accumulated_passes_are_judged_one_by_one(self):
        maml = Maml(weight=0.7)
        report = checked(maml.graph("unroll", gradient_accumulation=4), methods=("cg",))
        assert report.passed

    def test_the_best_row_is_the_exact_one(self):
        report = checked(quadratic().graph("darts"), methods=("neumann", "cg", "exact"))
        assert report.best == "exact"
        assert report.rows[3].cosine == pytest.approx(1.0)
        assert report.rows[3].ratio == 1.0

    def test_a_learned_rate_is_seen_as_run(self):
        declared = graph(
            {
                "rate": problem(Point(numbers(2, seed=1)), lambda inner: inner().square().sum()),
                "inner": problem(
                    Point(numbers(4, seed=2)),
                    lambda inner: 0.5 * inner() @ positive(4, seed=3) @ inner(),
                    unroll_steps=4,
                    hypergradient="unroll",
                    hyperparameters={"lr": {"_target_": rate, "rate": "rate"}},
                ),
            },
            edges=[("u2l", "rate", "inner"), ("l2u", "inner", "rate")],
        )
        report = checked(declared, methods=("cg",))
        assert report.passed
        assert report.rows[1].failure


def rate(rate: Any) -> Tensor:
    return 0.05 * rate().exp().sum()


def noisy(method: str) -> Graph:
    """Dropout and running statistics, Adam, batches in random order, float32 as given."""
    torch.manual_seed(0)
    x, y = numbers(24, 3, seed=1).float(), numbers(24, seed=2).float()
    data = DataLoader(
        TensorDataset(x, y, torch.arange(24)),
        batch_size=8,
        shuffle=True,
        generator=torch.Generator().manual_seed(3),
    )

    def fit(lower: Any, upper: Any, batch: Any) -> Tensor:
        x, y, which = batch
        errors = (lower(x).squeeze(1) - y).square()
        (weights,) = upper.parameters()
        return (weights[which].sigmoid() * errors).mean() + 1e-2 * sum(
            p.square().sum() for p in lower.parameters()
        )

    def judge(lower: Any, batch: Any) -> Tensor:
        return (lower(batch[0]).squeeze(1) - batch[1]).square().mean()

    layers = (nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.4), nn.Tanh(), nn.Linear(4, 1))
    weights = {"_target_": "mlograph.nn.Tensors", "weights": [24]}
    rest = {"data": data, "precision": "float32"}
    return pair(
        {**problem(weights, judge, **rest)},
        {**problem(nn.Sequential(*layers), fit, **rest)}
        | {"optimizer": "adam", "unroll_steps": 3, "hypergradient": method},
    )


class TestNoise:
    def test_dropout_and_statistics_are_held_fixed(self):
        report = checked(noisy("unroll"), methods=("first_order",), tol=1e-3)
        assert report.passed
        assert report.own.error(AS_RUN) < 1e-5
        assert any("with other random numbers (dropout)" in text for text in report.advice)

    @pytest.mark.parametrize("budget", [math.inf, 1e-9])
    def test_nothing_is_left_behind(self, budget: float):
        declared = noisy("unroll")
        lower = declared.spec.problems["lower"]
        module, data = lower.module.value, lower.data.value
        torch.manual_seed(5)
        np.random.seed(5)
        random.seed(5)

        def traces() -> list[Any]:
            state = np.random.get_state()
            return [
                *(x.clone() for x in module.state_dict().values()),
                torch.get_rng_state(),
                torch.as_tensor(state[1].astype(np.int64)),  # type: ignore[union-attr]
                torch.tensor(random.getstate()[1]),
                data.generator.get_state(),
            ]

        threads = torch.get_num_threads()
        before = traces()
        checked(declared, methods=("cg",), budget=budget)
        after = traces()
        assert torch.is_grad_enabled()
        assert all(
            x.dtype == y.dtype and torch.equal(x, y) for x, y in zip(before, after, strict=True)
        )
        assert torch.get_num_threads() == threads

    def test_numbers_may_stay_as_the_file_has_them(self):
        report = checked(
            quadratic_in("float32"), methods=("cg",), precision="graph", tol=0.02, step=0.05
        )
        assert report.passed
        assert 1e-8 < report.own.error(SOLVED) < 0.02


def quadratic_in(precision: str) -> Graph:
    A, B = positive(4, seed=1).float(), numbers(4, 3, seed=2).float()

    def fit(lower: Any, upper: Any) -> Tensor:
        return 0.5 * lower() @ A @ lower() - lower() @ B @ upper()

    rest = {"precision": precision, "hypergradient": "exact"}
    return pair(
        problem(Point(numbers(3, seed=4).float()), lambda lower: lower().square().sum(), **rest),
        problem(Point(numbers(4, seed=5).float()), fit, unroll_steps=60, **rest),
    )


class TestStart:
    def test_a_check_can_begin_where_a_run_ended(self, tmp_path: Path):
        declared = pair(UPPER, LOWER, steps=3)
        result = declared.run(tmp_path, quiet=True)
        variant = Variant.of(apart(declared.spec, "float64"), Imports())
        with reach(variant, "upper", result.directory) as at:
            states = at.before.states
        assert states["upper"].updates == 3
        for name, module in result.modules.items():
            for key, tensor in module.state_dict().items():
                assert torch.equal(tensor, states[name].tensors[key])
        settings = Settings(start=result.directory, methods=("cg",), directions=1, repeats=1)
        report = declared.gradcheck(settings)
        assert report.start == f"the end of {result.directory}"

    def test_a_run_of_another_graph_is_refused(self, tmp_path: Path):
        result = pair(UPPER, LOWER).run(tmp_path, quiet=True)
        other = pair(UPPER, {**LOWER, "module": line(outputs=2)})
        message = failure(lambda: other.gradcheck(Settings(start=result.directory)))
        assert message.endswith("was saved by another graph: lower differs")

    def test_a_folder_without_a_run_is_refused(self, tmp_path: Path):
        settings = Settings(start=tmp_path)
        message = failure(lambda: quadratic().graph("cg").gradcheck(settings))
        assert message == f"{tmp_path}: no checkpoint is there"

    def test_the_warm_up_comes_first(self):
        declared = pair(UPPER, {**LOWER, "warmup_steps": 3})
        variant = Variant.of(apart(declared.spec, "float64"), Imports())
        with reach(variant, "upper", None) as at:
            assert at.before.states["lower"].updates == 3
            assert at.after.states["lower"].updates == 5


DATA = Batches(points(seed=1), points(seed=2), points(seed=3))


def square(lower: Any, batch: Any) -> Tensor:
    return lower(batch[0]).square().mean()


def held(lower: Any, upper: Any, batch: Any) -> Tensor:
    pairs = zip(lower.parameters(), upper.parameters(), strict=True)
    distance = sum((a - b).square().sum() for a, b in pairs)
    return (lower(batch[0]) - batch[1]).square().mean() + distance


UPPER = problem(line(seed=1), square, data=DATA)
LOWER = problem(line(seed=2), held, data=DATA, unroll_steps=2)


class TestRefusals:
    def test_a_graph_without_a_lower_problem(self):
        declared = graph({"alone": problem(line(), "mse", data=DATA)})
        assert failure(declared.gradcheck) == (
            "'graph' has no hypergradient to check: no problem has another below it whose "
            "solution answers to it"
        )

    def test_a_problem_without_a_hypergradient(self):
        message = failure(lambda: quadratic().graph("cg").gradcheck(Settings(uppers=("inner",))))
        assert message == (
            "'inner' has no hypergradient: nothing below it answers to it "
            "(those that have one: outer)"
        )

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            (Settings(uppers=("oter",)), "no problem 'oter' (did you mean 'outer'?)"),
            (Settings(methods=("neuman",)), "no method 'neuman' (did you mean 'neumann'?)"),
            (Settings(references=("solv",)), "no reference 'solv' (did you mean 'solved'?)"),
            (Settings(precision="float32"), "no precision 'float32' (known: float64, graph)"),
            (Settings(directions=0), "directions: expected 1 or more, got 0"),
            (Settings(tol=0.0), "tol: expected a positive number, got 0"),
            (Settings(step=-1.0), "step: expected a positive number, got -1"),
            (Settings(step=math.inf), "step: expected a positive number, got inf"),
            (Settings(budget=0.0), "budget: expected a positive number, got 0"),
            (Settings(budget=math.nan), "budget: expected a positive number, got nan"),
        ],
        ids=lambda value: "" if isinstance(value, str) else "settings",
    )
    def test_settings_that_do_not_fit(self, settings: Settings, message: str):
        assert failure(lambda: quadratic().graph("cg").gradcheck(settings)) == message


def test_every_registered_method_has_a_row_or_a_reason():
    settings = Settings(directions=1, repeats=1)
    (report,) = Maml(weight=0.7).graph("neumann").gradcheck(settings).uppers
    assert {row.method for row in report.rows} == hypergradients.METHODS.keys()
    assert report.rows[0].method == "neumann"
    for row in report.rows:
        assert row.failure or (row.seconds > 0.0 and row.megabytes > 0.0)


def test_a_large_hessian_is_not_written_out_unless_asked_for():
    wide = nn.Linear(2500, 1, bias=False, dtype=torch.float64)
    declared = pair(
        problem(Point(numbers(2, seed=1)), lambda lower: lower.parameters()[0].square().sum()),
        problem(
            wide,
            lambda lower, upper: (lower.parameters()[0] - upper().sum()).square().sum(),
            hypergradient="darts",
        ),
    )
    (report,) = declared.gradcheck(Settings(directions=1, repeats=1)).uppers
    names = [row.name for row in report.rows]
    assert "cg (tol 1e-12, iterations 200)" in names
    assert "exact" not in names


def test_series_of_neumann_is_off_by_what_it_leaves_out():
    """The error is the distance of two closed forms, seen along the directions."""
    case = quadratic()
    report = checked(
        case.graph({"method": "neumann", "iterations": 3, "alpha": RATE}), methods=("exact",)
    )
    truth = expected(case.closed_form(inverse), case.points["outer"])
    cut_short = expected(case.closed_form(series(RATE, 4)), case.points["outer"])
    assert report.own.error(SOLVED) == pytest.approx(relative_error(cut_short, truth), rel=1e-5)
