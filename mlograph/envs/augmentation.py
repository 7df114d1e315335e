"""Random distortions of the images of a task, for training on few classes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mlograph.envs.protocol import Env
from mlograph.envs.task import Batch


@dataclass(frozen=True)
class Distortion:
    """How far an image may be moved; every image draws its own movement, uniformly.

    Attributes:
        rotate: degrees, either way.
        shift: fraction of the image's side, along each axis and either way.
        scale: 0.1 is from 90% to 110%, along each axis.
        shear: tangent of the angle, either way.
    """

    rotate: float = 0.0
    shift: float = 0.0
    scale: float = 0.0
    shear: float = 0.0

    def __call__(self, images: Tensor, generator: Generator) -> Tensor:
        """`images` (n, channels, height, width), each moved by bilinear sampling; zeros outside."""
        draws = torch.rand(6, len(images), generator=generator) * 2 - 1
        angle = draws[0] * math.radians(self.rotate)
        across, down = 1 + self.scale * draws[1], 1 + self.scale * draws[2]
        cos, sin, shear = angle.cos(), angle.sin(), self.shear * draws[3]
        # Rotation · shear · scale; affine_grid measures shifts in half sides.
        rows = [cos * across, (cos * shear - sin) * down, 2 * self.shift * draws[4]]
        rows += [sin * across, (sin * shear + cos) * down, 2 * self.shift * draws[5]]
        maps = torch.stack(rows, dim=1).view(-1, 2, 3).to(images)
        grid = F.affine_grid(maps, list(images.shape), align_corners=False)
        return F.grid_sample(images, grid, align_corners=False)


class DistortedTasks:
    """An Env whose images are distorted anew at every step.

    Args:
        tasks: draws the tasks.
        distortion: what is done to each image of `support` and of `query`.
        seed: a whole number from 0, for the distortions alone.
    """

    def __init__(self, tasks: Env, distortion: Distortion, seed: int) -> None:
        self._tasks = tasks
        self._distortion = distortion
        self._generator = Generator("cpu").manual_seed(seed)

    @property
    def batches(self) -> tuple[str, ...]:
        """Those of the tasks."""
        return self._tasks.batches

    def step(self) -> Mapping[str, Batch]:
        """Draw the next task and distort its images."""
        return {
            name: (self._distortion(x, self._generator), y)
            for name, (x, y) in self._tasks.step().items()
        }

    def state_dict(self) -> dict[str, Any]:
        """The states of the tasks and of the distortions."""
        return {"tasks": self._tasks.state_dict(), "generator": self._generator.get_state()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self._tasks.load_state_dict(state["tasks"])
        self._generator.set_state(state["generator"])
