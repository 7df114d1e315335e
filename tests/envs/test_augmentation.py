"""Random distortions of training images."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from mlograph.envs import Distortion, FewShotEnv
from mlograph.errors import UsageError


def few_shot(**options: object) -> FewShotEnv:
    return FewShotEnv("glyphs", tasks="builtin", ways=2, shots=1, queries=2, **options)


def drawn(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def test_no_distortion_is_the_identity():
    images = torch.rand(3, 1, 8, 8)
    torch.testing.assert_close(Distortion()(images, drawn()), images)


def test_a_shift_moves_by_at_most_the_given_fraction_of_the_side():
    images = torch.zeros(200, 1, 21, 21)
    images[:, :, 10, 10] = 1.0
    moved = Distortion(shift=0.2)(images, drawn())
    rows = (moved.sum(3).squeeze(1) * torch.arange(21.0)).sum(1)
    assert 13.5 < float(rows.max()) <= 14.3 and 5.7 <= float(rows.min()) < 6.5


def test_a_rotation_keeps_distances_from_the_centre():
    images = torch.zeros(100, 1, 41, 41)
    images[:, :, 20, 32] = 1.0
    moved = Distortion(rotate=90)(images, drawn())
    axis = torch.arange(41.0) - 20
    mass = moved.sum((1, 2, 3))
    y = (moved.sum(3).squeeze(1) * axis).sum(1) / mass
    x = (moved.sum(2).squeeze(1) * axis).sum(1) / mass
    torch.testing.assert_close((x**2 + y**2).sqrt(), torch.full((100,), 12.0), atol=0.6, rtol=0)
    assert float(y.abs().max()) > 11


def test_a_scale_is_drawn_for_each_axis():
    images = torch.ones(50, 1, 32, 32)
    area = Distortion(scale=0.5)(images, drawn()).mean((1, 2, 3))
    assert float(area.min()) < 0.7


def test_each_image_moves_on_its_own():
    images = torch.rand(1, 1, 16, 16).repeat(2, 1, 1, 1)
    first, second = Distortion(rotate=20, shift=0.1, shear=0.2)(images, drawn())
    assert not torch.equal(first, second)


def test_distorted_training_tasks_continue_bit_identically_from_a_state():
    env = few_shot(augment={"rotate": 10})
    env.step()
    state = env.state_dict()
    expected = env.step()["query"][0]
    other = few_shot(augment={"rotate": 10}, seed=5)
    other.load_state_dict(state)
    assert torch.equal(other.step()["query"][0], expected)


def test_only_training_tasks_are_distorted():
    plain = few_shot().split("test", seed=3).step()["support"][0]
    augmented = few_shot(augment={"rotate": 45}).split("test", seed=3).step()["support"][0]
    assert torch.equal(plain, augmented)
    assert not torch.equal(
        few_shot().step()["support"][0], few_shot(augment={"rotate": 45}).step()["support"][0]
    )


@pytest.mark.parametrize(
    ("augment", "message"),
    [
        ({"rotat": 10}, "no 'rotat' (did you mean 'rotate'?)"),
        ({"rotate": -1}, "rotate must be a number from 0, got -1"),
        ({"rotate": "much"}, "rotate must be a number from 0, got 'much'"),
    ],
)
def test_options_that_make_no_sense_are_refused(augment: dict[str, object], message: str):
    with pytest.raises(UsageError) as caught:
        few_shot(augment=augment)
    assert message in str(caught.value)
