"""The distortions of augmenting.yaml, as functions of how far they may go."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from mlograph.data import digits
from mlograph.views import View

REACH = {"turn": math.pi / 2, "shift": 0.6, "scale": 0.5, "shear": 0.8}


def classify(model: View, policy: View, batch: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    """Cross-entropy of distorted images, and how far they are moved.

    Args:
        model: gives logits (n, 10).
        policy: four numbers; their sigmoids say how much of its reach each distortion uses.
        batch: images (n, 1, height, width) and labels (n,).
    """
    x, y = batch
    extent = {name: REACH[name] * number.sigmoid() for name, number in policy().items()}
    logits = model(distorted(x, extent))
    moved = {name: number.detach() for name, number in extent.items()}
    return {"loss": F.cross_entropy(logits, y), **moved}


def distorted(images: Tensor, extent: dict[str, Tensor]) -> Tensor:
    """Every image moved by draws of its own, uniform up to `extent` either way; zeros outside.

    Args:
        images: (n, 1, height, width).
        extent: `turn` in radians, `shift` in half sides, relative `scale`, and `shear`.
    """
    draws = 2 * torch.rand(6, len(images), device=images.device) - 1
    angle, shear = extent["turn"] * draws[0], extent["shear"] * draws[1]
    across, down = (1 + extent["scale"] * draw for draw in draws[2:4])
    right, below = (extent["shift"] * draw for draw in draws[4:6])
    cos, sin = angle.cos(), angle.sin()
    rows = [cos * across, (cos * shear - sin) * down, right]
    rows += [sin * across, (sin * shear + cos) * down, below]
    maps = torch.stack(rows, dim=1).view(-1, 2, 3)
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, align_corners=False)


def worn(split: str, seed: int = 0) -> TensorDataset:
    """Digits as they come where the classifier is used: turned up to 45° and shifted by up to 20%.

    Args:
        split: `validation`, 100 images; `test`; or `both`, the 100 upright ones to train on and
            the 100 to validate on.
        seed: chooses the images, and how each is moved.
    """
    upright = digits("train", train=100, validation=100, seed=seed)
    found = digits("validation" if split == "both" else split, train=100, validation=100, seed=seed)
    extent = {"turn": math.pi / 4, "shift": 0.2, "scale": 0.0, "shear": 0.0}
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        images = distorted(found.images, {name: torch.tensor(x) for name, x in extent.items()})
    if split != "both":
        return TensorDataset(images, found.labels)
    labels = torch.cat([upright.labels, found.labels])
    return TensorDataset(torch.cat([upright.images, images]), labels)
