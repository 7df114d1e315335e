"""Batches that several problems see at once."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch
from torch.utils.data import TensorDataset

from mlograph.envs import Env, SharedBatches
from mlograph.errors import UsageError


def numbers(count: int) -> TensorDataset:
    return TensorDataset(torch.arange(count).float()[:, None], torch.arange(count) % 3)


def drawn(env: SharedBatches, name: str, steps: int) -> list[list[int]]:
    return [env.step()[name][0].flatten().int().tolist() for _ in range(steps)]


def test_an_epoch_has_every_sample_once_in_an_order_of_its_own():
    env = SharedBatches({"a": numbers(12)}, batch_size=4)
    assert isinstance(env, Env)
    first, second = drawn(env, "a", 3), drawn(env, "a", 3)
    for epoch in (first, second):
        assert sorted(number for batch in epoch for number in batch) == list(range(12))
    assert first != second


def test_labels_belong_to_their_samples():
    x, y = SharedBatches({"a": numbers(12)}, batch_size=5).step()["a"]
    assert torch.equal(x.flatten().long() % 3, y)


def test_what_fills_no_batch_is_left_out():
    env = SharedBatches({"a": numbers(10)}, batch_size=4)
    assert {len(batch) for batch in drawn(env, "a", 7)} == {4}


def test_data_sets_of_different_lengths_go_round_by_themselves():
    env = SharedBatches({"long": numbers(8), "short": numbers(4)}, batch_size=4)
    assert env.batches == ("long", "short")
    steps = [env.step() for _ in range(4)]
    for step in steps:
        assert sorted(step["short"][0].flatten().tolist()) == [0, 1, 2, 3]
    for pair in (steps[:2], steps[2:]):
        assert sorted(torch.cat([s["long"][0] for s in pair]).flatten().tolist()) == [*range(8)]


def test_it_continues_from_a_saved_state_in_the_middle_of_an_epoch():
    env = SharedBatches({"a": numbers(12)}, batch_size=4, seed=3)
    env.step()
    saved = io.BytesIO()
    torch.save(env.state_dict(), saved)
    expected = drawn(env, "a", 6)
    saved.seek(0)
    restored = SharedBatches({"a": numbers(12)}, batch_size=4, seed=0)
    restored.load_state_dict(torch.load(saved, weights_only=True))
    assert drawn(restored, "a", 6) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"datasets": {}}, "datasets: name at least one"),
        ({"datasets": {"a": numbers(3)}, "batch_size": 0}, "batch_size: must be at least 1, got 0"),
        (
            {"datasets": {"a": numbers(3)}, "batch_size": 4},
            "batch_size: is 4, but the data set 'a' has 3 samples",
        ),
    ],
)
def test_what_fills_no_batch_at_all_is_refused(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError) as refused:
        SharedBatches(**arguments)
    assert str(refused.value) == message
