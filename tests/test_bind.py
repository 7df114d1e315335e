"""From a graph to its built parts: what every argument receives, and what is told as a fault."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import Any

import pytest
import torch
from builders import (
    Batches,
    bound,
    complaints,
    failure,
    graph,
    line,
    points,
    problem,
    weights,
)
from small_graphs import alone, lower_loss, only, own_loss, size, two, upper_loss
from torch import Tensor, nn

import mlograph
from mlograph.errors import GraphError
from mlograph.losses import mse
from mlograph.terms import bind_term
from mlograph.views import View

# --- What the arguments of a loss receive

PATH = ("problems", "a", "loss")


def test_an_argument_named_like_a_problem_receives_its_view():
    term = bind_term(upper_loss, {}, ("upper", "lower"), PATH)
    assert term.views == {"upper": "upper", "lower": "lower"}
    assert term.reads == {"upper", "lower"}


def test_a_string_that_names_a_problem_stands_for_its_view():
    term = bind_term(mse, {"model": "inner"}, ("inner", "outer"), PATH)
    assert term.views == {"model": "inner"}
    assert term.constants == {}


def test_batch_and_step_are_passed_where_they_are_wanted():
    def loss(a: View, batch: Tensor, step: int) -> None: ...

    assert bind_term(loss, {}, ("a",), PATH).wants == {"batch", "step"}
    assert bind_term(own_loss, {}, ("a",), PATH).wants == frozenset()


def test_a_step_that_the_graph_sets_is_a_constant():
    def loss(a: View, step: int) -> None: ...

    term = bind_term(loss, {"step": 3}, ("a",), PATH)
    assert (term.constants, term.wants) == ({"step": 3}, frozenset())


def test_everything_else_is_a_constant_or_keeps_its_default():
    def loss(a: View, weight: float, power: int = 2) -> None: ...

    term = bind_term(loss, {"weight": 0.5}, ("a",), PATH)
    assert term.constants == {"weight": 0.5}


def test_a_text_that_is_wanted_as_a_text_stays_one():
    def loss(a: View, mode: str) -> None: ...

    term = bind_term(loss, {"mode": "b"}, ("a", "b"), PATH)
    assert (term.constants, term.views) == ({"mode": "b"}, {"a": "a"})


def test_an_argument_of_another_name_may_hide_a_problem():
    def loss(a: View, b: float) -> None: ...

    assert bind_term(loss, {"b": 2.0}, ("a", "b"), PATH).constants == {"b": 2.0}


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (
            {"wieght": 2.0},
            "problems.a.loss.wieght: proximal has no argument 'wieght' (did you mean",
        ),
        ({"anchor": "b"}, "problems.a.loss: proximal needs an argument 'model'"),
        (
            {"model": "aa", "anchor": "b"},
            "problems.a.loss.model: no problem 'aa' (did you mean 'a'?)",
        ),
        (
            {"model": "inner", "anchor": "b"},
            "problems.a.loss.model: no problem 'inner' (known: a, b)",
        ),
    ],
)
def test_arguments_that_a_loss_cannot_receive_are_faults(arguments: dict[str, Any], fault: str):
    def bind_it() -> object:
        return bind_term(mlograph.losses.proximal, arguments, ("a", "b"), PATH)

    assert any(found.startswith(fault) for found in complaints(bind_it))


def test_arguments_of_a_loss_may_be_components():
    seen: list[object] = []

    def loss(a: View, criterion: nn.Module) -> Tensor:
        seen.append(criterion)
        return size(a)

    huber = {"_target_": "torch.nn.HuberLoss", "delta": 0.5}
    alone(loss={"_target_": loss, "criterion": huber}).run(quiet=True)
    assert isinstance(seen[0], nn.HuberLoss)
    assert seen[0].delta == 0.5


# --- Losses and edges


def test_reading_without_an_edge_names_the_edge_to_add():
    def bind_with(edges: list[Any]) -> list[str]:
        problems = {
            "upper": problem(line(), upper_loss),
            "lower": problem(line(), lower_loss),
        }
        return complaints(lambda: bound(graph(problems, edges=edges, engine={"of": "upper"})))

    (fault,) = bind_with([("l2u", "lower", "upper")])
    assert fault == (
        "problems.lower.loss: the loss of 'lower' reads 'upper' without an edge "
        "(add 'u2l: upper -> lower' to edges)"
    )
    faults = bind_with([])
    assert [fault.split(": ")[0] for fault in faults] == [
        "problems.upper.loss",
        "problems.lower.loss",
    ]
    assert "add 'l2u: lower -> upper' to edges" in faults[0]


def test_an_edge_that_the_loss_does_not_read_is_a_fault_of_the_edge():
    def deaf(lower: View) -> Tensor:
        return size(lower)

    assert only(two(lower={"loss": deaf})) == (
        "edges[0].u2l: the loss of 'lower' does not read 'upper' "
        "(give the loss an argument 'upper', or remove the edge)"
    )
    assert only(two(upper={"loss": {"_target_": size, "view": "upper"}})).startswith(
        "edges[1].l2u: the loss of 'upper' does not read 'lower'"
    )


def test_one_term_of_a_sum_is_enough_to_read_an_edge():
    def first(lower: View) -> Tensor:
        return size(lower)

    bound(two(lower={"loss": [first, lower_loss]}))


def test_an_implicit_method_needs_a_loss_that_reads_the_start():
    def deaf(lower: View) -> Tensor:
        return size(lower)

    fault = only(two(lower={"loss": deaf, "start_from": "upper", "hypergradient": "cg"}))
    assert fault.startswith(
        "problems.lower.hypergradient: 'cg' differentiates the loss of 'lower', which does not "
        "read 'upper'; it does not see that the inner loop starts there (add a term such as"
    )
    for method in ("unroll", "first_order"):
        bound(two(lower={"loss": deaf, "start_from": "upper", "hypergradient": method}))


# --- Things of the wrong kind


@pytest.mark.parametrize(
    ("key", "value", "fault"),
    [
        ("module", "torch.optim.SGD", "problems.a.module: SGD needs an argument 'params'"),
        (
            "module",
            "torch.nn.Parameter",
            "problems.a.module: expected a torch.nn.Module, got a Par",
        ),
        ("optimizer", "torch.nn.ModuleList", "problems.a.optimizer: torch.nn.ModuleList failed"),
        ("optimizer", "torch.nn.ParameterList", "problems.a.optimizer: expected a torch optimiser"),
        ("scheduler", "torch.nn.Identity", "problems.a.scheduler: expected a torch scheduler"),
        ("data", "torch.nn.Identity", "problems.a.data: expected a DataLoader or an iterable, got"),
        ("data", {"x": "torch.nn.Identity"}, "problems.a.data.x: expected a DataLoader or an iter"),
        (
            "optimizer",
            {"_target_": "sgd", "lr": -1},
            "problems.a.optimizer: sgd failed: ValueError",
        ),
        (
            "optimizer",
            {"_target_": "sgd", "mometum": 0.9},
            "problems.a.optimizer.mometum: SGD has no argument 'mometum' (did you mean",
        ),
        ("optimizer", "torch.optim.Adm", "problems.a.optimizer: 'torch.optim' has no 'Adm' (did"),
        (
            "optimizer",
            "torch.optim.LBFGS",
            "problems.a.optimizer: LBFGS wants to evaluate the loss by itself",
        ),
        ("loss", "mlograph.losses.mes", "problems.a.loss: 'mlograph.losses' has no 'mes' (did you"),
    ],
)
def test_what_is_of_the_wrong_kind_is_a_fault_in_its_place(key: str, value: Any, fault: str):
    assert only(alone(**{key: value})).startswith(fault)


@pytest.mark.parametrize("device", ["cuda:99", "tpu", "cpu:x"])
def test_a_device_that_does_not_exist_is_a_fault(device: str):
    declared = graph({"a": problem(line(), own_loss)}, engine={"device": device})
    told = only(declared)
    assert told.startswith(f"engine.device: device '{device}' cannot be used: ")
    assert "(known here: auto, cpu" in told
    assert len(told) < 400


def test_a_callback_that_takes_no_problem_is_a_fault():
    def wrong(trainer: object) -> None: ...

    faults = complaints(lambda: bound(alone(callbacks={"after_update": wrong})))
    assert faults[0].startswith("problems.a.callbacks.after_update.problem: ")
    assert "has no argument 'problem'" in faults[0]


# --- All at once


def test_everything_that_is_wrong_is_told_at_once():
    broken = {
        "optimizer": "torch.optim.Adm",
        "data": "torch.nn.Identity",
        "callbacks": {"after_update": "os.system", "on_gradient": "sys.exit"},
        "freeze": ["nothing"],
    }
    declared = two(
        upper={"loss": [upper_loss, "mlograph.losses.nil"], "scheduler": "torch.nn.Identity"},
        lower=broken,
        env="mlograph.envs.SinEnv",
        engine={"device": "tpu"},
    )
    found = [fault.split(": ")[0] for fault in complaints(lambda: bound(declared))]
    assert sorted(found) == [
        "engine.device",
        "env",
        "problems.lower.callbacks.after_update",
        "problems.lower.callbacks.on_gradient",
        "problems.lower.data",
        "problems.lower.freeze[0]",
        "problems.upper.loss[1]",
        "problems.upper.scheduler",
    ]


def test_faults_of_one_problem_do_not_hide_each_other():
    declared = alone(
        optimizer="torch.optim.Adm",
        data="torch.nn.Identity",
        loss="mlograph.losses.nil",
        callbacks={"after_update": "os.system"},
    )
    found = {fault.split(": ")[0] for fault in complaints(lambda: bound(declared))}
    keys = ("optimizer", "data", "loss", "callbacks.after_update")
    assert found == {f"problems.a.{key}" for key in keys}


def test_faults_of_a_file_are_told_with_their_lines(tmp_path: Path):
    file = tmp_path / "g.yaml"
    file.write_text(
        textwrap.dedent("""\
        mlograph: 1
        name: g
        problems:
          a:
            module: {_target_: torch.nn.Linear, in_features: 1, out_featurs: 1}
            optimizer: torch.optim.Adm
            loss: {_target_: mse, model: a, weight: 2}
        """)
    )
    message = failure(lambda: mlograph.load(file).run(quiet=True))
    assert f"{file}:5:57: problems.a.module.out_featurs: Linear has no argument" in message
    assert f"{file}:7:37: problems.a.loss.weight: mse has no argument 'weight'" in message
    assert message.count(f"{file}:") == 3


# --- Parameter groups and frozen parameters


def layers() -> nn.Sequential:
    return nn.Sequential(line(3, 3, seed=1), nn.Tanh(), line(3, 1, seed=2))


def grouped(*groups: Any) -> dict[str, Any]:
    return {"_target_": "sgd", "lr": 0.1, "params": list(groups)}


def test_globs_make_parameter_groups_and_the_rest_is_the_last():
    module = layers()
    first = {"params": "0.*", "lr": 0.5}
    biases = {"params": ["*.bias", "*.nothing"], "lr": 0.25}
    declared = alone(module=module, optimizer=grouped(first, biases))
    groups = bound(declared).problems["a"].optimizer.param_groups
    assert [group["lr"] for group in groups] == [0.5, 0.25, 0.1]
    held = [[id(p) for p in group["params"]] for group in groups]
    assert held == [
        [id(module[0].weight), id(module[0].bias)],
        [id(module[2].bias)],
        [id(module[2].weight)],
    ]


@pytest.mark.parametrize(
    ("groups", "fault"),
    [
        (
            [{"params": "2.wieght"}],
            "params[0].params: '2.wieght' fits no parameter that is left (did",
        ),
        (
            [{"params": "*"}, {"params": "*"}],
            "params[1].params: '*' fits no parameter that is left",
        ),
        ([{"lr": 0.1}], "params: expected a list of groups such as"),
        (["*.bias"], "params: expected a list of groups such as"),
    ],
)
def test_groups_that_fit_nothing_are_faults(groups: list[Any], fault: str):
    declared = alone(module=layers(), optimizer=grouped(*groups))
    assert only(declared).startswith(f"problems.a.optimizer.{fault}")


def test_globs_freeze_parameters():
    model = bound(alone(module=layers(), freeze=["0.*", "*.bias"])).problems["a"].model
    assert list(model.params) == ["2.weight"]
    assert [p.requires_grad for p in model.module.parameters()] == [False, False, True, False]


def test_what_freezes_nothing_or_everything_is_a_fault():
    faults = complaints(lambda: bound(alone(module=layers(), freeze=["0.wieght", "*"])))
    assert faults == [
        "problems.a.freeze[0]: '0.wieght' fits no parameter (did you mean '0.weight'?)",
        "problems.a.module: there is no parameter to optimise",
    ]


# --- Copies and live objects


def test_a_copied_component_is_built_anew():
    module = {"_target_": "torch.nn.Linear", "in_features": 3, "out_features": 1}
    models = bound(two(upper={"module": module}, lower={"module": {"copy": "upper"}})).problems
    ours, theirs = (models[name].model.params["weight"] for name in ("upper", "lower"))
    assert ours.shape == theirs.shape
    assert not torch.equal(ours, theirs)


def test_one_module_for_two_problems_is_refused():
    module = line()
    faults = complaints(lambda: bound(two(upper={"module": module}, lower={"module": module})))
    assert faults == [
        f"problems.lower.module: the parameter '{name}' is that of 'upper' as well "
        "(for a module of its own: {copy: upper})"
        for name in ("weight", "bias")
    ]


def test_two_problems_may_share_what_neither_trains():

    def declared(**frozen: Any) -> mlograph.Graph:
        shared = line(3, 3)
        upper, lower = (nn.Sequential(shared, line(seed=seed)) for seed in (1, 2))
        return two(upper={"module": upper, **frozen}, lower={"module": lower, **frozen})

    bound(declared(freeze=["0.*"]))
    assert len(complaints(lambda: bound(declared()))) == 2


def test_a_module_without_ordinary_gradients_is_refused_before_it_is_changed():
    module = nn.Sequential(nn.Embedding(3, 1, sparse=True))
    assert complaints(lambda: bound(alone(module=module))) == [
        "problems.a.module: the embedding '0' has sparse gradients (leave out 'sparse')"
    ]


def test_a_copied_live_module_has_tensors_of_its_own():
    module = line()
    models = bound(two(upper={"module": module}, lower={"module": {"copy": "upper"}})).problems
    ours, theirs = (models[name].model.params["weight"] for name in ("upper", "lower"))
    assert ours is module.weight
    assert torch.equal(ours, theirs)
    assert ours.data_ptr() != theirs.data_ptr()


def test_a_live_optimiser_keeps_its_groups_its_state_and_edited_rates():
    module = layers()
    optimizer = torch.optim.Adam(
        [{"params": module[0].parameters(), "lr": 0.5}, {"params": module[2].parameters()}]
    )
    for param in module.parameters():
        param.grad = torch.ones_like(param)
    optimizer.step()
    optimizer.param_groups[1]["lr"] = 0.25
    found = bound(alone(module=module, optimizer=optimizer)).problems["a"].optimizer
    assert found is optimizer
    assert [group["lr"] for group in found.param_groups] == [0.5, 0.25]
    assert all(int(found.state[param]["step"]) == 1 for param in module.parameters())


def test_a_live_optimiser_goes_on_where_it_was():
    module, twin = line(), line()
    runs = []
    for net in (module, twin):
        optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
        net(torch.ones(1, 3, dtype=torch.float64)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()
        optimizer.param_groups[0]["lr"] = 0.3
        runs.append(optimizer)
    result = alone(module=module, optimizer=runs[0]).run(quiet=True)
    for _ in range(result.steps):
        runs[1].zero_grad()
        torch.stack([p.square().sum() for p in twin.parameters()]).sum().backward()
        runs[1].step()
    for ours, theirs in zip(weights(result, "a"), twin.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_live_optimiser_must_hold_just_the_parameters_of_the_module():
    stranger = torch.optim.SGD(line().parameters(), lr=0.1)
    assert only(alone(optimizer=stranger)) == (
        "problems.a.optimizer: the optimiser holds 2 parameters that are not of this module"
    )
    module = line()
    partly = torch.optim.SGD([module.weight], lr=0.1)
    assert only(alone(module=module, optimizer=partly)) == (
        "problems.a.optimizer: the optimiser does not hold 'bias' "
        "(add what shall stay fixed to 'freeze')"
    )
    module = line()
    partly = torch.optim.SGD([module.weight], lr=0.1)
    bound(alone(module=module, optimizer=partly, freeze=["bias"]))


def test_a_live_scheduler_must_belong_to_the_optimiser():
    module = line()
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    scheduler = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (n + 1))
    bound(alone(module=module, optimizer=optimizer, scheduler=scheduler))
    assert only(alone(scheduler=scheduler)) == (
        "problems.a.scheduler: the scheduler was made for another optimiser"
    )


def test_a_float64_problem_turns_its_module_and_batches_into_float64():
    single = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(single.parameters(), lr=0.1)
    x, y = (t.float() for t in points())
    loss = {"_target_": mse, "model": "a"}
    result = alone(module=single, optimizer=optimizer, loss=loss, data=Batches((x, y))).run(
        quiet=True
    )
    assert {p.dtype for p in result.modules["a"].parameters()} == {torch.float64}


def test_a_graph_error_is_raised_before_anything_is_trained():
    module = line()
    before = module.weight.clone()
    with pytest.raises(GraphError):
        alone(module=module, callbacks={"after_update": "os.system"}).run(quiet=True)
    assert torch.equal(module.weight, before)
