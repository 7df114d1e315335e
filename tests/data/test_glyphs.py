"""The embedded data set: deterministic, well-formed, and neither trivial nor hopeless."""

from typing import Any

import numpy as np
import pytest
import torch

from mlograph.data import Hand, ImageClasses, glyphs
from mlograph.data.glyph_drawing import _draw, _glyphs
from mlograph.errors import UsageError


def one_nearest_neighbour(data: ImageClasses, shots: int, tasks: int = 150) -> float:
    """Accuracy of 1-NN on raw pixels, 5-way, with 5 queries of each class."""
    generator = torch.Generator().manual_seed(0)
    pixels = data.images.flatten(1).reshape(data.classes, 20, -1)
    truth = torch.arange(5).repeat_interleave(5)
    right = 0.0
    for _ in range(tasks):
        classes = torch.randperm(data.classes, generator=generator)[:5]
        chosen = torch.randperm(20, generator=generator)
        support = pixels[classes][:, chosen[:shots]].flatten(0, 1)
        query = pixels[classes][:, chosen[shots : shots + 5]].flatten(0, 1)
        guess = torch.cdist(query, support).argmin(dim=1) // shots
        right += (guess == truth).float().mean().item()
    return right / tasks


def test_images_are_ink_on_nothing():
    data = glyphs("train", classes=30, instances=7)
    assert data.images.shape == (210, 1, 28, 28)
    assert data.images.dtype == torch.float32
    assert data.images.min() == 0
    assert 0.9 < data.images.max() <= 1
    assert data.labels.tolist() == [label for label in range(30) for _ in range(7)]
    # Every picture has something on it, and most of it is empty.
    ink = data.images.mean(dim=(1, 2, 3))
    assert ink.min() > 0.01
    assert ink.mean() < 0.3


def test_the_same_arguments_draw_the_same_bits():
    again = glyphs("test", classes=12, seed=3).images.clone()
    _glyphs.cache_clear()
    assert torch.equal(glyphs("test", classes=12, seed=3).images, again)


def test_drawing_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    glyphs("train", classes=3, instances=2, seed=12345)
    assert torch.equal(torch.get_rng_state(), before)


def test_results_are_cached():
    assert glyphs("test", classes=5) is glyphs("test", classes=5)


def test_splits_and_seeds_hold_different_characters():
    drawn = [glyphs(split, classes=40).images for split in ("train", "validation", "test")]
    drawn.append(glyphs("train", classes=40, seed=1).images)
    means = [images.reshape(40, 20, -1).mean(dim=1) for images in drawn]
    for i, one in enumerate(means):
        for other in means[i + 1 :]:
            assert torch.cdist(one, other).min() > 1


def test_no_two_images_of_a_character_are_the_same():
    images = glyphs("train", classes=10).images.reshape(10, 20, -1)
    apart = torch.cdist(images, images) + 1e9 * torch.eye(20)
    assert apart.min() > 0.5


def test_a_stroke_that_a_character_lacks_leaves_no_ink():
    stroke = np.linspace([0.1, 0.2], [0.9, 0.8], 4, dtype=np.float32)
    strokes = np.stack([stroke, stroke[:, ::-1]])[None]
    thickness = np.array([0.7], dtype=np.float32)
    both, first, none = (
        _draw(strokes, np.array([drawn]), thickness).sum()
        for drawn in ([True, True], [True, False], [False, False])
    )
    assert both > 1.5 * first > 0
    assert none == 0


def test_a_steady_hand_draws_the_same_picture_each_time():
    steady = Hand(wobble=0, slide=0, turn=0, slant=0, stretch=0, shift=0, thickness=(0.7, 0.7))
    images = glyphs("train", classes=4, instances=3, hand=steady).images.reshape(4, 3, -1)
    assert torch.equal(images[:, 0], images[:, 1])
    assert torch.equal(images[:, 0], images[:, 2])


def test_raw_pixels_do_not_solve_it():
    data = glyphs("test")
    assert 0.45 < one_nearest_neighbour(data, shots=1) < 0.65
    assert 0.6 < one_nearest_neighbour(data, shots=5) < 0.85


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"split": "tset"}, "split: unknown 'tset' (did you mean 'test'?)"),
        ({"classes": 0}, "classes and instances must be at least 1, got 0 and 20"),
        ({"instances": 0}, "classes and instances must be at least 1, got 1000 and 0"),
    ],
)
def test_mistakes_are_named(arguments: dict[str, Any], message: str):
    with pytest.raises(UsageError) as caught:
        glyphs(**arguments)
    assert str(caught.value) == message
