"""Characters that nobody wrote: an embedded data set for few-shot learning.

A character is two to four curved strokes. Each of its images is drawn anew: the hand moves every
stroke and every control point a little, and slants, turns, stretches and shifts the whole.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
import torch
from torch import Generator, Tensor

from mlograph.data.image_classes import ImageClasses
from mlograph.errors import UsageError, did_you_mean

SIZE = 28

Array = npt.NDArray[np.float32]

# The number of classes of a split where the user gives none.
SPLITS = {"train": 1000, "validation": 200, "test": 200}

_STROKES = (2, 4)  # fewest and most strokes of a character
_POINTS = 28  # at which a stroke is drawn; closer together than a stroke is thick
_CHUNK = 250  # images drawn at a time: what the drawing needs then fits a processor's cache


@dataclass(frozen=True)
class Hand:
    """How much the images of one character differ; lengths as a fraction of the image's side.

    Attributes:
        wobble: standard deviation of every control point.
        slide: standard deviation of every stroke's place.
        turn: largest rotation, in radians.
        slant: largest shear.
        stretch: largest relative change of width and height.
        shift: largest displacement of the whole.
        thickness: smallest and largest standard deviation across a stroke, in pixels.
    """

    wobble: float = 0.045
    slide: float = 0.03
    turn: float = 0.4
    slant: float = 0.3
    stretch: float = 0.2
    shift: float = 0.1
    thickness: tuple[float, float] = (0.55, 0.9)


def glyphs(
    split: str = "train",
    *,
    classes: int | None = None,
    instances: int = 20,
    seed: int = 0,
    hand: Hand | None = None,
) -> ImageClasses:
    """Draw `classes` characters, `instances` images of each, the same for the same arguments.

    The splits hold different characters. Labels count from 0 in each of them; images of one
    class stand together. The result is cached in the process.

    Args:
        split: `train`, `validation` or `test`.
        classes: the number of characters; 1000 for `train` and 200 for the others by default.
        instances: images of each character.
        seed: chooses another set of characters.
        hand: how much the images of one character differ.

    Returns:
        images (classes · instances, 1, 28, 28) with ink 1 on 0, rounded to multiples of 1/255.

    Raises:
        UsageError: an unknown split, or no classes or instances.
    """
    if split not in SPLITS:
        raise UsageError(f"split: unknown '{split}' ({did_you_mean(split, SPLITS)})")
    classes = SPLITS[split] if classes is None else classes
    if classes < 1 or instances < 1:
        raise UsageError(f"classes and instances must be at least 1, got {classes} and {instances}")
    return _glyphs(split, classes, instances, seed, hand or Hand())


@lru_cache(maxsize=8)
def _glyphs(split: str, classes: int, instances: int, seed: int, hand: Hand) -> ImageClasses:
    stream = list(SPLITS).index(split)
    generator = Generator("cpu").manual_seed(seed * len(SPLITS) + stream)
    strokes, drawn = _characters(classes, generator)
    strokes = strokes.repeat_interleave(instances, dim=0)
    drawn = drawn.repeat_interleave(instances, dim=0)
    strokes = _handwritten(strokes, hand, generator)
    thinnest, thickest = hand.thickness
    thickness = _uniform((len(strokes),), thinnest, thickest, generator)
    hands = (strokes.numpy(), drawn.numpy(), thickness.numpy())
    chunks = [slice(i, i + _CHUNK) for i in range(0, len(strokes), _CHUNK)]
    images = np.concatenate([_draw(*(part[chunk] for part in hands)) for chunk in chunks])
    labels = torch.arange(classes, device="cpu").repeat_interleave(instances)
    return ImageClasses(torch.from_numpy(images), labels)


def _characters(classes: int, generator: Generator) -> tuple[Tensor, Tensor]:
    """Cubic Bézier strokes (classes, strokes, 4 control points, xy) in [-1, 1], and which exist.

    A stroke starts anywhere, or half of the time somewhere on the stroke before it.
    """
    fewest, most = _STROKES
    shape = (classes, most)
    start = _uniform((*shape, 2), -1, 1, generator)
    angle = _uniform(shape, 0, 2 * math.pi, generator)
    length = _uniform(shape, 0.6, 1.6, generator)
    heading = torch.stack([angle.cos(), angle.sin()], dim=-1)
    across = torch.stack([-angle.sin(), angle.cos()], dim=-1)
    bend = 0.5 * _normal((*shape, 2), generator)
    along = torch.tensor([0.0, 1 / 3, 2 / 3, 1.0], device="cpu")
    path = (length[..., None] * along)[..., None] * heading[..., None, :]
    path[..., 1:3, :] += bend[..., None] * across[..., None, :]

    attached = _uniform(shape, 0, 1, generator) < 0.5
    where = _uniform(shape, 0, 1, generator)
    strokes = torch.empty(classes, most, 4, 2, device="cpu")
    strokes[:, 0] = start[:, 0, None] + path[:, 0]
    for i in range(1, most):
        touch = _bernstein(where[:, i])[:, None] @ strokes[:, i - 1]
        begin = torch.where(attached[:, i, None, None], touch, start[:, i, None])
        strokes[:, i] = begin + path[:, i]

    count = torch.randint(fewest, most + 1, (classes, 1), generator=generator, device="cpu")
    drawn = torch.arange(most, device="cpu") < count
    return _fitted(strokes, drawn), drawn


def _fitted(strokes: Tensor, drawn: Tensor) -> Tensor:
    """The characters shifted and stretched to fill [-1, 1] on both axes."""
    absent = ~drawn[..., None, None]
    low = strokes.masked_fill(absent, math.inf).amin(dim=(1, 2), keepdim=True)
    high = strokes.masked_fill(absent, -math.inf).amax(dim=(1, 2), keepdim=True)
    # A lone straight line would be stretched without bound.
    half = ((high - low) / 2).clamp(min=0.4)
    return (strokes - (high + low) / 2) / half


def _handwritten(strokes: Tensor, hand: Hand, generator: Generator) -> Tensor:
    """One variation of each character, in [0, 1] coordinates of the image."""
    n = len(strokes)
    # A side is 2 long here.
    strokes = strokes + 2 * hand.wobble * _normal(strokes.shape, generator)
    strokes = strokes + 2 * hand.slide * _normal((n, strokes.shape[1], 1, 2), generator)
    turn = _uniform((n,), -hand.turn, hand.turn, generator)
    slant = _uniform((n,), -hand.slant, hand.slant, generator)
    stretch = 1 + _uniform((n, 2), -hand.stretch, hand.stretch, generator)
    shift = _uniform((n, 1, 1, 2), -hand.shift, hand.shift, generator)
    cos, sin = turn.cos(), turn.sin()
    affine = torch.stack(
        [
            torch.stack([cos, slant * cos - sin], dim=-1),
            torch.stack([sin, slant * sin + cos], dim=-1),
        ],
        dim=-2,
    )
    affine = affine * stretch[:, None, :]
    placed = torch.einsum("nspj,nij->nspi", strokes, affine)
    return 0.5 + 0.36 * placed + shift


def _draw(strokes: Array, drawn: Array, thickness: Array) -> Array:
    """Ink (n, 1, SIZE, SIZE) of strokes whose cross-section is a Gaussian.

    The ink of a stroke is the integral of a round Gaussian along it. The Gaussian is a product
    of one factor in x and one in y, so that a picture is one matrix product (SIZE, points) by
    (points, SIZE). NumPy works on one core here: torch's threads would spend longer waiting for
    each other than on such small pieces.
    """
    basis = _bernstein(torch.linspace(0, 1, _POINTS, device="cpu")).numpy()
    points = SIZE * (basis @ strokes)
    # The length that each point stands for; without it ink would gather where points do.
    steps = np.linalg.norm(np.diff(points, axis=2), axis=-1)
    steps = np.pad(steps, ((0, 0), (0, 0), (1, 1)))
    length = (steps[..., 1:] + steps[..., :-1]) / 2 * drawn[..., None]

    n = len(strokes)
    thickness = thickness[:, None, None]
    pixels = np.arange(SIZE, dtype=np.float32) + np.float32(0.5)
    x, y = (_near(points[..., axis].reshape(n, -1, 1) - pixels, thickness) for axis in (0, 1))
    y *= length.reshape(n, -1, 1)
    ink = y.transpose(0, 2, 1) @ x / (math.sqrt(2 * math.pi) * thickness)
    # Crossing strokes saturate. Rounding hides what differs in the last bit between machines.
    ink = 1 - np.exp(-3 * ink)
    images: Array = (np.round(255 * ink) / 255).astype(np.float32)[:, None]
    return images


def _near(away: Array, thickness: Array) -> Array:
    """exp(−½ (away/thickness)²), overwriting `away`."""
    away /= thickness
    away *= away
    away *= -0.5
    # Far away exp would give denormal numbers, with which processors are many times slower.
    np.maximum(away, -30, out=away)
    np.exp(away, out=away)
    return away


def _bernstein(t: Tensor) -> Tensor:
    """The weights (n, 4) of a cubic Bézier curve's control points at `t` (n,)."""
    s = 1 - t
    return torch.stack([s**3, 3 * s**2 * t, 3 * s * t**2, t**3], dim=-1)


def _uniform(shape: tuple[int, ...], low: float, high: float, generator: Generator) -> Tensor:
    draws = torch.rand(shape, generator=generator, dtype=torch.float32, device="cpu")
    return low + (high - low) * draws


def _normal(shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float32, device="cpu")
