"""A recorded loop runs like a plain one, and can be differentiated."""

from __future__ import annotations

from itertools import takewhile
from typing import Any

import pytest
import torch
from cases import Maml, Point, bound, numbers, parameters, quadratic, relative_error
from torch import Tensor, nn

from mlograph import Graph
from mlograph.executor import Executor
from mlograph.plan import Step
from mlograph.program import Program
from mlograph.recording import Recording

X, Y = numbers(6, 3, seed=1), numbers(6, seed=2)

LOOPS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": {"_target_": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True}},
    "adam": {"optimizer": {"_target_": "adam", "lr": 0.05, "weight_decay": 0.1}},
    "adagrad": {"optimizer": {"_target_": "adagrad", "lr": 0.1}},
    "groups": {
        "optimizer": {
            "_target_": "rmsprop",
            "lr": 0.01,
            "params": [{"params": "*.bias", "lr": 0.1}],
        }
    },
    "scheduled": {"scheduler": {"_target_": "step", "step_size": 2, "gamma": 0.1}},
    "clipped": {"gradient_clipping": 0.3},
    "accumulated": {"gradient_accumulation": 3},
    "frozen": {"freeze": ["0.*"]},
    "restarted": {
        "start_from": "outer",
        "optimizer": {"_target_": "adagrad", "lr": 0.1, "initial_accumulator_value": 1.0},
    },
}


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    # A bias before batch statistics has no gradient but rounding, which Adagrad would blow up.
    layers = (nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
    return nn.Sequential(*layers)


def noisy(method: str, **inner: Any) -> Program:
    """A network with dropout and running statistics below one of the same architecture."""

    def fit(inner: Any, outer: Any) -> Tensor:
        pairs = zip(inner.parameters(), outer.parameters(), strict=True)
        near = torch.stack([(a - b).square().sum() for a, b in pairs]).sum()
        return (inner(X).squeeze(1) - Y).square().mean() + 0.1 * near

    def judge(inner: Any) -> Tensor:
        return torch.stack([x.square().sum() for x in inner.parameters()]).sum()

    graph = Graph(
        problems={
            "outer": {
                "module": network(0),
                "loss": judge,
                "optimizer": "sgd",
                "precision": "float64",
            },
            "inner": {
                "module": network(1),
                "loss": fit,
                "optimizer": "sgd",
                "precision": "float64",
                "unroll_steps": 4,
                "hypergradient": method,
                **inner,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )
    return bound(graph)


def looped(program: Program, loops: int) -> Program:
    torch.manual_seed(7)
    executor = Executor(program)
    inner_loop = [*takewhile(lambda one: one != Step("outer"), program.plan.period)]
    for instruction in inner_loop * loops:
        executor.execute(instruction)
    return program


@pytest.mark.parametrize("name", LOOPS)
def test_it_ends_where_a_plain_loop_ends(name: str):
    recorded = looped(noisy("unroll", **LOOPS[name]), loops=2).problems["inner"]
    random = torch.get_rng_state()
    plain = looped(noisy("cg", **LOOPS[name]), loops=2).problems["inner"]
    assert torch.equal(torch.get_rng_state(), random)
    mine, theirs = recorded.model.module.state_dict(), plain.model.module.state_dict()
    for key, tensor in theirs.items():
        assert torch.allclose(mine[key], tensor, rtol=1e-10, atol=1e-12)
    assert recorded.updates == plain.updates
    assert recorded.optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"]
    for key, param in plain.model.params.items():
        found = recorded.optimizer.state[recorded.model.params[key]]
        for entry, value in plain.optimizer.state[param].items():
            assert torch.allclose(torch.as_tensor(found[entry]).double(), value.double())


def test_the_problems_own_tensors_have_no_graph():
    inner = looped(noisy("unroll", **LOOPS["adam"]), 1).problems["inner"]
    for param in inner.model.params.values():
        assert param.is_leaf
        assert param.grad is None
        assert not any(x.requires_grad for x in inner.optimizer.state[param].values())


def test_parameters_keep_their_identity():
    program = noisy("unroll")
    before = [*program.problems["inner"].model.params.values()]
    looped(program, 2)
    after = program.problems["inner"].model.params.values()
    assert all(a is b for a, b in zip(before, after, strict=True))


def recorded(steps: int = 2, **inner: Any) -> tuple[Program, Recording]:
    """`Maml`, with a recording of its inner loop."""
    program = bound(Maml(weight=0.7).graph("unroll", inner))
    problem = program.problems["inner"]
    recording = Recording(problem, frozenset())
    for _ in range(steps):
        advance(program, recording)
    return program, recording


def advance(program: Program, recording: Recording) -> None:
    inner = program.problems["inner"]
    gradient, _ = recording.differentiate(inner.evaluate(recording.views(), inner.next_moment()))
    recording.accumulate(gradient)
    recording.update()


ADJOINT = {"head": numbers(1, seed=5), "tail": numbers(3, seed=6)}


def test_it_can_be_pulled_more_than_once_and_is_linear():
    _, recording = recorded()
    once = recording.pull(ADJOINT, ("outer",))["outer"]
    twice = recording.pull({name: 2 * x for name, x in ADJOINT.items()}, ("outer",))["outer"]
    for name, x in once.items():
        assert torch.allclose(2 * x, twice[name], rtol=1e-12)


def test_an_adjoint_of_some_parameters_is_zero_in_the_others():
    _, recording = recorded()
    part = recording.pull({"head": ADJOINT["head"]}, ("outer",))["outer"]
    rest = recording.pull({"tail": ADJOINT["tail"]}, ("outer",))["outer"]
    whole = recording.pull(ADJOINT, ("outer",))["outer"]
    for name, x in whole.items():
        assert torch.allclose(part[name] + rest[name], x, rtol=1e-12)


def test_a_dropped_update_leaves_everything_where_it_was():
    program, recording = recorded()
    inner = program.problems["inner"]
    before = parameters(program, "inner")
    sent = recording.pull(ADJOINT, ("outer",))["outer"]
    gradient, _ = recording.differentiate(inner.evaluate(recording.views(), inner.next_moment()))
    recording.accumulate(gradient)
    recording.drop()
    recording.update()
    assert torch.equal(parameters(program, "inner"), before)
    assert all(
        torch.equal(x, sent[name])
        for name, x in recording.pull(ADJOINT, ("outer",))["outer"].items()
    )


def test_nothing_comes_back_before_the_first_step_but_the_start():
    _, recording = recorded(steps=0)
    sent = recording.pull(ADJOINT, ("outer",))["outer"]
    assert all(torch.equal(sent[name], x) for name, x in ADJOINT.items())


def test_a_problem_that_the_loss_never_reads_gets_an_empty_vector():
    program = bound(quadratic().graph("unroll"))
    inner = program.problems["inner"]
    recording = Recording(inner, frozenset())
    assert recording.pull(ADJOINT, ("outer",)) == {"outer": {}}


def test_lower_solutions_are_read_where_they_stood_at_each_pass():
    """The middle reads a leaf that moves between its steps: θ_2 = … + η(E x_1 + (1 − η)…)."""
    rate, first, second = 0.1, numbers(3, seed=1), numbers(3, seed=2)

    def middle_loss(middle: Any, leaf: Any) -> Tensor:
        return 0.5 * (middle() - leaf().square()).square().sum()

    problem = {"precision": "float64", "optimizer": {"_target_": "sgd", "lr": rate}}
    graph = Graph(
        problems={
            "top": {"module": Point(first), "loss": lambda middle: middle().sum(), **problem},
            "middle": {
                "module": Point(torch.zeros(3).double()),
                "loss": middle_loss,
                "hypergradient": "unroll",
                **problem,
            },
            "leaf": {
                "module": Point(first),
                "loss": lambda leaf, top: (leaf() - top()).square().sum(),
                **problem,
            },
        },
        edges=[{"u2l": "top -> leaf"}, {"l2u": "leaf -> middle"}, {"l2u": "middle -> top"}],
        engine={"device": "cpu"},
    )
    program = bound(graph)
    middle, leaf = program.problems["middle"], program.problems["leaf"]
    recording = Recording(middle, frozenset({"leaf"}))
    stood_at = torch.zeros(3).double()
    for stands in (first, second):
        with torch.no_grad():
            leaf.model.params["head"].copy_(stands[:1])
            leaf.model.params["tail"].copy_(stands[1:])
        gradient, lower = recording.differentiate(
            middle.evaluate(recording.views(), middle.next_moment())
        )
        direct = torch.cat([*lower["leaf"].values()])
        assert torch.allclose(direct, -2 * stands * (stood_at - stands.square()))
        stood_at = stood_at - rate * (stood_at - stands.square())
        recording.accumulate(gradient)
        recording.update()
    ones = {name: torch.ones_like(x) for name, x in leaf.model.params.items()}
    sent = torch.cat([*recording.pull(ones, ("leaf",))["leaf"].values()])
    expected = rate * (1 - rate) * 2 * first + rate * 2 * second
    assert relative_error(sent, expected) < 1e-12
