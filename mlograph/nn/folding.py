"""Layers of a network for images that are mapped over tasks: tasks lie beside channels.

`torch.vmap` moves the tasks of a batch normalisation and of a pooling to where these want them, in
another order in memory than a convolution's, and copies each time. Here all three find the images
as (n, tasks·channels, height, width), channels last: a convolution has a group for each task, the
others do not notice. Nothing is copied in between, and every pass is that of a wide network, which
a CPU is good at. Few-shot networks of 16 channels take half the time and less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, channels_last, nn
from torch._C import _functorch as functorch
from torch._functorch.pyfunctorch import temporarily_pop_interpreter_stack
from torch.nn import functional as F


class Layer(Protocol):
    """What is done with images, for one task or with those of several beside each other."""

    def __call__(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, tasks: int) -> Tensor:
        """The images that come of it.

        Args:
            x: (n, tasks·channels, height, width).
            weight: (tasks·channels, …), or None.
            bias: (tasks·channels,), or None.
            tasks: how many lie beside each other.
        """
        ...


def is_mapped(x: Tensor, weight: Tensor | None = None) -> bool:
    """Whether `torch.vmap` maps a layer of these over tasks, on a CPU."""
    if torch.compiler.is_compiling() or x.dim() != 4 or x.device.type != "cpu":
        return False
    innermost = functorch.peek_interpreter_stack()
    if innermost is None:
        return False
    level = innermost.level()
    return _axis(x, level) is not None or (weight is not None and _axis(weight, level) is not None)


def folded(
    layer: Layer, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """A layer that `is_mapped`: done for all tasks, one level below the map.

    A rule of an `autograd.Function` for `torch.vmap` says the same, and takes as long as a small
    network does before it is reached.

    Args:
        layer: without a state.
        x: images of one task, (n, channels, height, width).
        weight: (channels, …), or None.
        bias: (channels,), or None.
    """
    innermost = functorch.peek_interpreter_stack()
    assert innermost is not None, "somebody maps it"
    level = innermost.level()
    given = [x] if weight is None else [x, weight]
    tasks = next(
        functorch.get_unwrapped(one).shape[axis]
        for one in given
        if (axis := _axis(one, level)) is not None
    )
    with temporarily_pop_interpreter_stack():
        images = _unfolded(x, level, tasks, 1).flatten(1, 2)
        channels, shift = (
            None if one is None else _unfolded(one, level, tasks, 0).flatten(0, 1)
            for one in (weight, bias)
        )
        found = layer(images, channels, shift, tasks).unflatten(1, (tasks, -1))
    mapped: Tensor = functorch._add_batch_dim(found, 1, level)
    return mapped


def _axis(x: Tensor, level: int) -> int | None:
    """Where a map of this level has its tasks; None where it has one for all."""
    if not functorch.is_batchedtensor(x) or functorch.maybe_get_level(x) != level:
        return None
    axis: int = functorch.maybe_get_bdim(x)
    return axis


def _unfolded(x: Tensor, level: int, tasks: int, place: int) -> Tensor:
    """The tensor below a map, its tasks at `place`; what all of them share is repeated."""
    axis = _axis(x, level)
    if axis is not None:
        below: Tensor = functorch.get_unwrapped(x)
        return below.movedim(axis, place)
    return x.unsqueeze(place).expand(*x.shape[:place], tasks, *x.shape[place:])


@dataclass(frozen=True)
class Convolution:
    """A convolution with a group for each task; implements `Layer`."""

    stride: tuple[int, ...]
    padding: tuple[int, ...]

    def __call__(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, tasks: int) -> Tensor:
        """See `Layer`."""
        assert weight is not None, "a convolution has a weight"
        # Within another transform, nobody is told how images lie in memory.
        if not torch._C._are_functorch_transforms_active():
            x = x.contiguous(memory_format=channels_last)
        return F.conv2d(x, weight, bias, self.stride, self.padding, groups=tasks)


@dataclass(frozen=True)
class Pooling:
    """The maximum of every square; implements `Layer`."""

    size: int

    def __call__(self, x: Tensor, weight: Tensor | None, bias: Tensor | None, tasks: int) -> Tensor:
        """See `Layer`."""
        return F.max_pool2d(x, self.size)


class Conv(nn.Conv2d):
    """`torch.nn.Conv2d` with one group and zeros around the image, which can be folded."""

    def forward(self, images: Tensor) -> Tensor:
        """The channels of every pixel's surroundings."""
        if not is_mapped(images, self.weight):
            return super().forward(images)
        assert not isinstance(self.padding, str), "a padding is a number of pixels here"
        return folded(Convolution(self.stride, self.padding), images, self.weight, self.bias)


class MaxPool(nn.Module):
    """`torch.nn.MaxPool2d`, which can be folded.

    Args:
        size: of the squares, in pixels.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, images: Tensor) -> Tensor:
        """The maximum of every square."""
        if is_mapped(images):
            return folded(Pooling(self.size), images)
        return F.max_pool2d(images, self.size)
