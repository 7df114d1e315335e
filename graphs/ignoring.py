"""The source data of ignoring.yaml, and the loss that ignores some of them."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from mlograph.data import digits
from mlograph.views import View


def source(target: int, wrong: float = 0.5, seed: int = 0) -> TensorDataset:
    """The images that the target leaves; many are not what their label says.

    Items: image, label, number of the sample, and whether its label is wrong.

    Args:
        target: images of the target, which are not among these; a third of the others is for tests.
        wrong: the share of images that bear the next digit's label.
        seed: chooses the images, and which of their labels are wrong.
    """
    rest = digits("test", train=target // 2, validation=target - target // 2, seed=seed)
    count = samples(target)
    astray = torch.rand(count, generator=Generator().manual_seed(seed)) < wrong
    labels = (rest.labels[:count] + astray) % 10
    return TensorDataset(rest.images[:count], labels, torch.arange(count), astray)


def target(split: str, target: int, seed: int = 0) -> TensorDataset:
    """Images with the right labels.

    Args:
        split: `train` or `validation`, a half of `target` each; `both` of these; or `test`.
        target: how many `both` are.
        seed: chooses the images.
    """
    first, second = target // 2, target - target // 2
    if split == "both":
        train, validation = (
            digits(part, train=first, validation=second, seed=seed)
            for part in ("train", "validation")
        )
        return TensorDataset(
            torch.cat([train.images, validation.images]),
            torch.cat([train.labels, validation.labels]),
        )
    found = digits(split, train=first, validation=second, seed=seed)
    kept = slice(samples(target), None) if split == "test" else slice(None)
    return TensorDataset(found.images[kept], found.labels[kept])


def samples(target: int) -> int:
    """How many the source has: two thirds of what the target leaves."""
    return 2 * (1797 - target) // 3


def ignoring(pretrained: View, weights: View, batch: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The mean of σ(a_i) · ℓ_i over the source, ℓ_i the cross-entropy of sample i."""
    x, y, number, astray = batch
    each = F.cross_entropy(pretrained(x), y, reduction="none")
    weight = weights()["a"].sigmoid()[number]
    kept = weight.detach()
    return {
        "loss": (weight * each).sum() / weight.sum(),
        "weight_wrong": kept[astray].mean(),
        "weight_right": kept[~astray].mean(),
    }
