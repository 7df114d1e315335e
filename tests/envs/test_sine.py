"""Sine waves: what is drawn, and that it can be drawn again."""

import io
import math

import pytest
import torch

from mlograph.envs import SineEnv, SplitEnv
from mlograph.errors import UsageError


def test_both_batches_lie_on_one_wave():
    env = SineEnv(shots=5, queries=7)
    assert isinstance(env, SplitEnv)
    for _ in range(200):
        task = env.step()
        assert task["support"][0].shape == (5, 1)
        assert task["query"][1].shape == (7, 1)
        x, y = (torch.cat([task[name][i] for name in env.batches]).double() for i in (0, 1))
        assert x.abs().max() <= 5
        # y = a sin x + b cos x, whose coefficients give amplitude and phase.
        wave = torch.linalg.lstsq(torch.cat([x.sin(), x.cos()], dim=1), y)
        a, b = wave.solution.flatten().tolist()
        assert torch.allclose(torch.cat([x.sin(), x.cos()], dim=1) @ wave.solution, y, atol=1e-4)
        assert 0.1 - 1e-3 < math.hypot(a, b) < 5 + 1e-3
        # A sin(x − φ) = A cos φ sin x − A sin φ cos x, with φ in [0, π].
        assert b < 1e-3


def test_waves_differ():
    env = SineEnv()
    heights = torch.stack([env.step()["query"][1].abs().max() for _ in range(50)])
    assert heights.min() < 1
    assert heights.max() > 4


def test_it_continues_from_a_saved_state():
    env = SineEnv(seed=4)
    env.step()
    saved = io.BytesIO()
    torch.save(env.state_dict(), saved)
    expected = env.step()
    saved.seek(0)
    restored = SineEnv(seed=0)
    restored.load_state_dict(torch.load(saved, weights_only=True))
    for name, batch in restored.step().items():
        for got, wanted in zip(batch, expected[name], strict=True):
            assert torch.equal(got, wanted)


def test_splits_do_not_repeat_each_other():
    env = SineEnv(seed=1)
    envs = [env, *(env.split(name, seed=1) for name in ("train", "validation", "test"))]
    envs.append(env.split("test", seed=2))
    first = [one.step()["support"][0] for one in envs]
    assert len({float(x[0]) for x in first}) == len(envs)
    again = env.split("test", seed=1).step()["support"][0]
    assert torch.equal(again, first[3])


def test_mistakes_are_named():
    with pytest.raises(UsageError, match="shots: must be at least 1, got 0"):
        SineEnv(shots=0)
    with pytest.raises(UsageError, match="there is no 'dev'"):
        SineEnv().split("dev", seed=0)
