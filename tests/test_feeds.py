"""Where batches come from: data of problems and the Env."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from builders import Batches, CountingEnv, bound, graph, line, problem
from small_graphs import alone, only, own_loss
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


@pytest.mark.parametrize(
    "data", [TensorDataset(torch.ones(3)), {"x": TensorDataset(torch.ones(3))}]
)
def test_a_data_set_that_is_not_batched_is_refused(data: Any):
    place = "problems.a.data" + (".x" if isinstance(data, dict) else "")
    assert only(alone(data=data)) == (
        f"{place}: a TensorDataset is a Dataset, which gives single samples; wrap it in "
        "torch.utils.data.DataLoader or mlograph.data.full_batch"
    )


def test_a_loader_and_an_iterable_data_set_are_batches():
    bound(alone(data={"x": DataLoader(TensorDataset(torch.ones(3))), "y": Batches(1)}))


def test_the_env_must_be_one():
    declared = graph({"a": problem(line(), own_loss, data="env.x")}, env=nn.Identity())
    assert only(declared) == "env: expected an Env (mlograph.envs.Env), got a Identity"


def test_a_misspelt_batch_of_the_env_gets_the_nearest_name():
    declared = graph(
        {"a": problem(line(), own_loss, data="env.suport")}, env="mlograph.envs.SineEnv"
    )
    assert only(declared) == (
        "problems.a.data: the Env has no batch 'suport' (did you mean 'support'?)"
    )


def test_the_env_is_given_the_seed_of_the_run_unless_it_has_its_own():
    def env_of(source: Any) -> Any:
        declared = graph(
            {"a": problem(line(), own_loss, data="env.number")}, env=source, engine={"seed": 7}
        )
        shared = bound(declared).env
        assert shared is not None
        return shared.env

    assert env_of(CountingEnv).count == 7
    assert env_of({"_target_": CountingEnv, "seed": 3}).count == 3
