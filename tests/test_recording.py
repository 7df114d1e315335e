"""A recorded loop runs like a plain one, can be differentiated in several ways, and run again."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Callable, Iterator
from itertools import takewhile
from typing import Any

import numpy as np
import pytest
import torch
from cases import (
    Maml,
    Point,
    after_loops,
    backward,
    bound,
    numbers,
    parameters,
    quadratic,
    relative_error,
)
from torch import Tensor, nn

from mlograph import Graph
from mlograph.executor import Executor
from mlograph.plan import Step
from mlograph.problem import Problem
from mlograph.program import Program
from mlograph.recording import Recording
from mlograph.recording.steps import Point as Stand
from mlograph.trees import Vector

X, Y = numbers(6, 3, seed=1), numbers(6, seed=2)

MOMENTUM = {"_target_": "sgd", "lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}

LOOPS: dict[str, dict[str, Any]] = {
    "sgd": {"optimizer": MOMENTUM},
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
    "all at once": {
        "start_from": "outer",
        "optimizer": MOMENTUM,
        "scheduler": {"_target_": "step", "step_size": 2, "gamma": 0.5},
        "gradient_clipping": 0.3,
        "gradient_accumulation": 2,
    },
}

# Every way to go through a loop, the plainest first.
UNROLLED: tuple[Any, ...] = (
    "unroll",
    {"method": "unroll", "checkpoint": "steps"},
    {"method": "unroll", "checkpoint": "sqrt"},
    {"method": "unroll", "checkpoint": "sqrt", "truncate": 100},
)
WAYS = (*UNROLLED, "forward")


def named(value: Any) -> str | None:
    return "-".join(map(str, value.values())) if isinstance(value, dict) else None


each_loop = pytest.mark.parametrize("name", LOOPS)


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    # A bias before batch statistics has no gradient but rounding, which Adagrad would blow up.
    layers = (nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.Dropout(0.3), nn.Linear(4, 1))
    return nn.Sequential(*layers).double()


class Memory(nn.Module):
    """A network whose result depends on a buffer that every call changes."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inside = network(seed)
        self.register_buffer("trace", torch.zeros(1, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inside(x) * (1.0 + 0.1 * self.trace)
        self.trace.add_(self.mark(result))
        return result

    def mark(self, result: Tensor) -> Tensor:
        return torch.ones(1, dtype=torch.float64)


class Impression(Memory):
    """One whose buffer depends on its results as well."""

    def mark(self, result: Tensor) -> Tensor:
        return result.detach().square().mean()


def noisy(method: Any, make: Callable[[int], nn.Module] = network, **inner: Any) -> Program:
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
                "module": make(0),
                "loss": judge,
                "optimizer": "sgd",
                "precision": "float64",
            },
            "inner": {
                "module": make(1),
                "loss": fit,
                "optimizer": "sgd",
                "precision": "float64",
                "unroll_steps": 5,
                "hypergradient": method,
                **inner,
            },
        },
        edges=[{"u2l": "outer -> inner"}, {"l2u": "inner -> outer"}],
        engine={"device": "cpu"},
    )
    return bound(graph)


def looped(program: Program, loops: int = 1) -> Executor:
    torch.manual_seed(7)
    executor = Executor(program)
    inner_loop = [*takewhile(lambda one: one != Step("outer"), program.plan.period)]
    for instruction in inner_loop * loops:
        executor.execute(instruction)
    return executor


# --- As it runs


@pytest.mark.parametrize("way", (*UNROLLED[:2], "es"), ids=named)
@each_loop
def test_it_ends_where_a_plain_loop_ends(name: str, way: Any):
    program, plain_program = noisy(way, **LOOPS[name]), noisy("cg", **LOOPS[name])
    meter = looped(program, loops=2).meters["inner"]
    state = torch.get_rng_state()
    plain_meter = looped(plain_program, loops=2).meters["inner"]
    assert torch.equal(torch.get_rng_state(), state)
    recorded, plain = program.problems["inner"], plain_program.problems["inner"]
    mine, theirs = recorded.model.module.state_dict(), plain.model.module.state_dict()
    for key, tensor in theirs.items():
        assert torch.allclose(mine[key], tensor, rtol=1e-10, atol=1e-12)
    assert recorded.updates == plain.updates
    assert recorded.optimizer.param_groups[0]["lr"] == plain.optimizer.param_groups[0]["lr"]
    for key, param in plain.model.params.items():
        found = recorded.optimizer.state[recorded.model.params[key]]
        for entry, value in plain.optimizer.state[param].items():
            assert torch.allclose(torch.as_tensor(found[entry]).double(), value.double())
    assert meter.flush() == pytest.approx(plain_meter.flush(), rel=1e-10)


@pytest.mark.parametrize("way", WAYS, ids=named)
def test_the_problems_own_tensors_have_no_graph(way: Any):
    program = noisy(way, **LOOPS["adam"])
    looped(program)
    inner = program.problems["inner"]
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


# --- Differentiated


def hypergradient(way: Any, make: Callable[[int], nn.Module] = network, **inner: Any) -> Tensor:
    program = noisy(way, make, **inner)
    torch.manual_seed(7)
    after_loops(program, "outer")
    params = program.problems["outer"].model.params.values()
    return torch.cat(
        [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in params]
    )


def judged(shift: Tensor, make: Callable[[int], nn.Module], **inner: Any) -> float:
    """The outer loss after a plain loop, the outer parameters being elsewhere."""
    program = noisy("first_order", make, **inner)
    moved(program.problems["outer"], shift)
    looped(program)
    outer = program.problems["outer"]
    return float(outer.evaluate(outer.views(), outer.next_moment()).loss.detach())


def moved(problem: Problem, shift: Tensor) -> None:
    with torch.no_grad():
        params = [*problem.model.params.values()]
        for param, way in zip(params, shift.split([p.numel() for p in params]), strict=True):
            param.add_(way.view_as(param))


# A module that remembers what it was called with needs its buffers as they were at every pass.
each_module = pytest.mark.parametrize(
    ("name", "make"), [*((name, network) for name in LOOPS), ("all at once", Memory)]
)


@each_module
def test_it_equals_finite_differences_of_the_plain_loop(
    name: str, make: Callable[[int], nn.Module]
):
    found = hypergradient("unroll", make, **LOOPS[name])
    for seed in range(2):
        way = numbers(len(found), seed=seed)
        ahead, behind = (judged(step * way, make, **LOOPS[name]) for step in (1e-5, -1e-5))
        assert float(found @ way) == pytest.approx((ahead - behind) / 2e-5, rel=1e-6)


@pytest.mark.parametrize("way", WAYS[1:], ids=named)
@each_module
def test_every_way_through_a_loop_gives_the_same(
    name: str, way: Any, make: Callable[[int], nn.Module]
):
    found, expected = (hypergradient(one, make, **LOOPS[name]) for one in (way, "unroll"))
    assert relative_error(found, expected) < 1e-12


def recorded(method: Any = "unroll", steps: int = 2) -> tuple[Program, Recording]:
    """`Maml`, with a recording of its inner loop."""
    program = bound(Maml(weight=0.7).graph(method))
    recording = Recording(program.problems["inner"], frozenset(), {"outer"})
    for _ in range(steps):
        advance(program, recording)
    return program, recording


def advance(program: Program, recording: Recording) -> None:
    _, gradient, _ = recording.evaluate(program.problems["inner"].next_moment())
    recording.accumulate(gradient)
    recording.update()


ADJOINT = {"head": numbers(1, seed=5), "tail": numbers(3, seed=6)}

each_way = pytest.mark.parametrize("way", WAYS, ids=named)


@each_way
def test_it_can_be_pulled_more_than_once_and_is_linear(way: Any):
    _, recording = recorded(way)
    once = recording.pull(ADJOINT, ("outer",))["outer"]
    twice = recording.pull({name: 2 * x for name, x in ADJOINT.items()}, ("outer",))["outer"]
    for name, x in once.items():
        assert torch.allclose(2 * x, twice[name], rtol=1e-12)


@each_way
def test_an_adjoint_of_some_parameters_is_zero_in_the_others(way: Any):
    _, recording = recorded(way)
    part = recording.pull({"head": ADJOINT["head"]}, ("outer",))["outer"]
    rest = recording.pull({"tail": ADJOINT["tail"]}, ("outer",))["outer"]
    whole = recording.pull(ADJOINT, ("outer",))["outer"]
    for name, x in whole.items():
        assert torch.allclose(part[name] + rest[name], x, rtol=1e-12)


@each_way
def test_a_dropped_update_leaves_everything_where_it_was(way: Any):
    program, recording = recorded(way)
    before = parameters(program, "inner")
    sent = recording.pull(ADJOINT, ("outer",))["outer"]
    _, gradient, _ = recording.evaluate(program.problems["inner"].next_moment())
    recording.accumulate(gradient)
    recording.drop()
    assert torch.equal(parameters(program, "inner"), before)
    for name, x in recording.pull(ADJOINT, ("outer",))["outer"].items():
        assert torch.equal(x, sent[name])
    # And the next one is that of a loop without it.
    advance(program, recording)
    twin, other = recorded(way, steps=3)
    assert torch.equal(parameters(program, "inner"), parameters(twin, "inner"))
    for name, x in recording.pull(ADJOINT, ("outer",))["outer"].items():
        assert torch.equal(x, other.pull(ADJOINT, ("outer",))["outer"][name])


@each_way
def test_nothing_comes_back_before_the_first_step_but_the_start(way: Any):
    _, recording = recorded(way, steps=0)
    sent = recording.pull(ADJOINT, ("outer",))["outer"]
    assert all(torch.equal(sent[name], x) for name, x in ADJOINT.items())


@each_way
def test_a_problem_that_the_loss_never_reads_gets_an_empty_vector(way: Any):
    case = quadratic()
    program = bound(case.graph(way))
    inner = program.problems["inner"]
    recording = Recording(inner, frozenset(), {"outer"})
    assert recording.pull(ADJOINT, ("outer",)) == {"outer": {}}


@pytest.mark.parametrize(("start", "expected"), [(None, 1), ("outer", 2)])
@pytest.mark.parametrize("way", ["none", "steps"])
def test_a_start_that_follows_no_target_costs_nothing(way: str, start: str | None, expected: int):
    asked: list[Tensor] = []

    def fit(inner: Any, outer: Any) -> Tensor:
        inner.parameters()[0].register_hook(asked.append)
        return ((inner() - outer()).square() * outer()).sum()

    inner = {"loss": fit, "start_from": start}
    program = bound(Maml().graph({"method": "unroll", "checkpoint": way}, inner))
    recording = Recording(program.problems["inner"], frozenset(), {"outer"})
    for _ in range(2):
        advance(program, recording)
    asked.clear()
    recording.pull(ADJOINT, ("outer",))
    # What is made again takes its own gradient first.
    assert len(asked) == expected + (2 if way == "steps" else 0)


def test_an_ordinary_step_afterwards_does_not_touch_what_was_recorded():
    program, recording = recorded({"method": "unroll", "checkpoint": "steps"})
    inner = program.problems["inner"]
    before = recording.pull(ADJOINT, ("outer",))["outer"]
    for param in inner.model.params.values():
        param.grad = torch.ones_like(param)
    inner.optimizer.step()
    after = recording.pull(ADJOINT, ("outer",))["outer"]
    assert all(torch.equal(x, after[name]) for name, x in before.items())


# --- Lower problems that step inside the loop

RATE = 0.1


def tree(method: Any, top: Tensor, leaf_method: Any = None, *, nested: bool = False) -> Program:
    """The loop of the middle reads a leaf, whose own loop runs before each of its passes.

    If `nested`, the middle moves the leaf as well, so that its gradient is a hypergradient.
    """

    def middle_loss(middle: Any, leaf: Any) -> Tensor:
        return 0.5 * (middle() - leaf().square()).square().sum() + 0.1 * middle().pow(4).sum()

    def leaf_loss(leaf: Any, top: Any) -> Tensor:
        return 0.5 * (leaf() - top()).square().sum() + 0.1 * leaf().pow(4).sum()

    def moved_loss(leaf: Any, top: Any, middle: Any) -> Tensor:
        return leaf_loss(leaf, top) - (middle().sin() * leaf()).sum()

    problem: dict[str, Any] = {
        "precision": "float64",
        "optimizer": {"_target_": "sgd", "lr": RATE, "momentum": 0.5},
        "hypergradient": method,
        "unroll_steps": 3,
    }
    leaf = {**problem, "hypergradient": leaf_method or method}
    upwards = [{"u2l": "middle -> leaf"}] if nested else []
    graph = Graph(
        problems={
            "top": {"module": Point(top), "loss": lambda middle: middle().sum(), **problem},
            "middle": {"module": Point(torch.ones(3).double()), "loss": middle_loss, **problem},
            "leaf": {
                "module": Point(numbers(3, seed=3)),
                "loss": moved_loss if nested else leaf_loss,
                **leaf,
            },
        },
        edges=[
            {"u2l": "top -> leaf"},
            {"l2u": "leaf -> middle"},
            {"l2u": "middle -> top"},
            *upwards,
        ],
        engine={"device": "cpu"},
    )
    return bound(graph)


def copies(params: Vector, shift: Tensor | None = None) -> Vector:
    shift = torch.zeros(3).double() if shift is None else shift
    return {
        "head": params["head"].detach() + shift[:1],
        "tail": params["tail"].detach() + shift[1:],
    }


class Watched:
    """The recording of the middle's loop, with the leaf wherever it stood at each pass."""

    def __init__(self, method: Any, shift: Tensor | None = None) -> None:
        self.program = tree(method, numbers(3, seed=4))
        self.middle, self.leaf = (self.program.problems[n] for n in ("middle", "leaf"))
        self.recording = Recording(self.middle, frozenset({"leaf"}), {"leaf"})
        for seed in range(3):
            stand = copies(
                {"head": numbers(1, seed=seed), "tail": numbers(2, seed=9 + seed)}, shift
            )
            with torch.no_grad():
                for name, param in self.leaf.model.params.items():
                    param.copy_(stand[name])
            self.stood = parameters(self.program, "middle")
            _, gradient, self.lower = self.recording.evaluate(self.middle.next_moment())
            self.recording.accumulate(gradient)
            self.recording.update()

    @property
    def end(self) -> Tensor:
        return parameters(self.program, "middle")


@each_way
def test_lower_solutions_are_read_where_they_stood_at_each_pass(way: Any):
    watched = Watched(way)
    ones = {name: torch.ones_like(x) for name, x in watched.middle.model.params.items()}
    sent = torch.cat([*watched.recording.pull(ones, ("leaf",))["leaf"].values()])
    for index, step in enumerate(1e-6 * torch.eye(3, dtype=torch.float64)):
        rise = (Watched(way, step).end - Watched(way, -step).end).sum() / 2e-6
        assert float(sent[index]) == pytest.approx(float(rise), rel=1e-6)


@each_way
def test_a_pass_tells_the_derivatives_by_what_it_read(way: Any):
    watched = Watched(way)
    x = parameters(watched.program, "leaf")
    expected = -2 * x * (watched.stood - x.square())
    assert relative_error(torch.cat([*watched.lower["leaf"].values()]), expected) < 1e-12


def middle_after(program: Program) -> Tensor:
    executor = Executor(program)
    for instruction in takewhile(lambda one: one != Step("top"), program.plan.period):
        executor.execute(instruction)
    return parameters(program, "middle")


@each_way
def test_what_problems_below_send_back_is_a_part_of_the_step(way: Any):
    top = numbers(3, seed=4)
    plain, other = (middle_after(tree("cg", top, "cg", nested=n)) for n in (True, False))
    found = middle_after(tree(way, top, "cg", nested=True))
    assert relative_error(found, plain) < 1e-12
    assert relative_error(other, plain) > 1e-3


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("way", WAYS[1:], ids=named)
def test_a_tree_gives_the_same_however_it_is_recorded(way: Any, nested: bool):
    found, expected = (
        after_loops(tree(one, numbers(3, seed=4), "cg", nested=nested), "top")
        for one in (way, "unroll")
    )
    assert relative_error(found, expected) < 1e-12


@pytest.mark.parametrize("way", WAYS[1:], ids=named)
def test_leaves_may_be_recorded_too(way: Any):
    found, expected = (
        after_loops(tree(one, numbers(3, seed=4), nested=True), "top") for one in (way, "unroll")
    )
    assert relative_error(found, expected) < 1e-12


# --- Memory


class Counting(nn.Module):
    """A network that counts how many of its hidden layers' outputs graphs hold, at most."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.inside = network(seed)
        self.outputs: list[weakref.ref[Tensor]] = []
        self.most = 0

    def forward(self, x: Tensor) -> Tensor:
        hidden = self.inside[0](x)
        self.outputs.append(weakref.ref(hidden))
        self.most = max(self.most, sum(one() is not None for one in self.outputs))
        result: Tensor = self.inside[1:](hidden)
        return result


def most_held(way: Any, steps: int, *, pull: bool = True) -> int:
    """How many passes the graphs of a loop, and of its pull, hold at most."""
    program = noisy(way, Counting, unroll_steps=steps)
    executor = looped(program)
    if pull:
        backward(executor, program, "outer")
    most: int = program.problems["inner"].model.module.most
    return most


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        ("cg", 1),
        ("es", 1),
        ("unroll", 16),
        # The oldest goes when the next step has been made.
        ({"method": "unroll", "truncate": 3}, 3 + 1),
        ({"method": "unroll", "checkpoint": "steps"}, 1),
        ({"method": "unroll", "checkpoint": "sqrt"}, 1),
        ({"method": "unroll", "checkpoint": "sqrt", "truncate": 3}, 1),
        ("forward", 1),
    ],
    ids=named,
)
def test_graphs_are_held_of_so_many_passes(way: Any, expected: int):
    """Of a loop of sixteen."""
    assert most_held(way, 16, pull=way not in ("es", "cg")) == expected


def points_alive(way: Any, steps: int) -> int:
    gc.collect()
    before = sum(type(x) is Stand for x in gc.get_objects())
    executor = looped(noisy(way, unroll_steps=steps))
    gc.collect()
    after = sum(type(x) is Stand for x in gc.get_objects())
    assert executor.skipped["inner"] == 0
    return after - before


@pytest.mark.parametrize(
    ("way", "expected"),
    [
        # Where the loop begins and where it is, the first being kept as well.
        ({"method": "unroll", "checkpoint": "steps"}, 16 + 1),
        ({"method": "unroll", "checkpoint": "sqrt"}, 4 + 1),
        ({"method": "unroll", "checkpoint": "steps", "truncate": 4}, 1 + 4 + 1),
        ({"method": "unroll", "checkpoint": "sqrt", "truncate": 4}, 1 + 2 + 1),
        # Its graphs hold these numbers in any case; a checkpoint asks for them.
        ("unroll", 16 + 1),
        ("forward", 1 + 1),
        ("es", 1 + 1),
    ],
    ids=named,
)
def test_only_so_many_points_are_kept(way: Any, expected: int):
    assert points_alive(way, 16) == expected


# --- Run again


def everything(program: Program) -> Iterator[Tensor]:
    for problem in program.problems.values():
        yield from (x.clone() for x in problem.model.module.state_dict().values())
        yield from (p.grad.clone() for p in problem.model.params.values() if p.grad is not None)
        for entries in problem.optimizer.state.values():
            yield from (torch.as_tensor(value).clone() for value in entries.values())
    yield torch.get_rng_state()
    yield torch.tensor(np.random.get_state()[1].astype(np.int64))  # type: ignore[union-attr]
    yield torch.tensor(random.getstate()[1])


def rerunnable(name: str, make: Callable[[int], nn.Module] = network) -> tuple[Program, Recording]:
    """A loop that has run, after another one, so that nothing is as it was at first."""
    program = noisy("es", make, **LOOPS[name])
    executor = looped(program, loops=2)
    return program, executor._recordings["inner"]


@each_module
def test_a_loop_that_runs_again_ends_at_the_same_bits(name: str, make: Callable[[int], nn.Module]):
    program, recording = rerunnable(name, make)
    before = [*everything(program)]
    inner, outer = program.problems["inner"].model, program.problems["outer"].model
    for reads in ({}, {"outer": outer.params}, {"outer": {}}):
        for key, x in recording.replay(reads).items():
            assert torch.equal(x, inner.params[key])
            assert not x.requires_grad
    assert all(map(torch.equal, before, everything(program)))


@each_loop
def test_a_loop_runs_again_as_if_the_upper_problem_had_stood_elsewhere(name: str):
    program = noisy("es", **LOOPS[name])
    executor = looped(program)
    outer = program.problems["outer"]
    shift = 0.1 * numbers(sum(p.numel() for p in outer.model.params.values()), seed=3)
    twin = noisy("cg", **LOOPS[name])
    moved(twin.problems["outer"], shift)
    looped(twin)
    reads = {"outer": twin.problems["outer"].model.params}
    found = executor._recordings["inner"].replay(reads)
    for key, x in twin.problems["inner"].model.params.items():
        assert torch.allclose(found[key], x, rtol=1e-10, atol=1e-12)
        assert not torch.equal(found[key], program.problems["inner"].model.params[key])


def test_buffers_follow_a_loop_that_runs_again_elsewhere():
    program, twin = noisy("es", Impression), noisy("cg", Impression)
    executor = looped(program)
    moved(twin.problems["outer"], 0.1 * numbers(25, seed=3))
    looped(twin)
    reads = {"outer": twin.problems["outer"].model.params}
    found = executor._recordings["inner"].replay(reads)
    for key, x in twin.problems["inner"].model.params.items():
        assert torch.allclose(found[key], x, rtol=1e-10, atol=1e-12)


def test_what_problems_below_send_back_stays_as_it_was():
    program = tree("es", numbers(3, seed=4), "cg", nested=True)
    executor = Executor(program)
    for instruction in takewhile(lambda one: one != Step("top"), program.plan.period):
        executor.execute(instruction)
    again = executor._recordings["middle"].replay({})
    assert relative_error(torch.cat([*again.values()]), parameters(program, "middle")) < 1e-14


def test_some_parameters_of_an_upper_problem_may_be_replaced():
    _, recording = recorded("es")
    head = numbers(1, seed=8)
    some = recording.replay({"outer": {"head": head}})
    whole = recording.replay({"outer": {"head": head, "tail": Maml().u[1:]}})
    assert all(torch.equal(x, whole[name]) for name, x in some.items())


def test_a_problem_below_is_shifted_wherever_it_was_read():
    shift = 0.1 * numbers(3, seed=8)
    watched = Watched("es")
    leaf = copies(watched.leaf.model.params, shift)
    found = watched.recording.replay({"leaf": leaf})
    assert relative_error(torch.cat([*found.values()]), Watched("es", shift).end) < 1e-12
    same = watched.recording.replay({"leaf": watched.leaf.model.params})
    assert torch.equal(torch.cat([*same.values()]), watched.end)


def test_a_loop_without_steps_ends_where_it_starts():
    _, recording = recorded("es", steps=0)
    start = {"head": numbers(1, seed=8)}
    assert torch.equal(recording.replay({"outer": start})["head"], start["head"])
    assert torch.equal(recording.replay({})["tail"], Maml().u[1:])


def test_a_checkpointed_loop_can_be_run_again_too():
    program, recording = recorded({"method": "unroll", "checkpoint": "sqrt"}, steps=5)
    found = torch.cat([*recording.replay({}).values()])
    assert torch.equal(found, parameters(program, "inner"))
