"""What distilling.yaml begins with, and how each of its students does."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mlograph.data import digits
from mlograph.nn import Tensors, loaded
from mlograph.problem import Problem
from mlograph.views import View


def images(begin: str = "noise", seed: int = 0) -> torch.nn.Module:
    """One image for each of ten classes, and the logarithm of a learning rate.

    Args:
        begin: `noise`; `real`, the first training image of each class; or `mean`, the mean of all
            of them.
        seed: of the noise, or of the training images.
    """
    train = digits("train", train=1200, validation=100, seed=seed)
    chosen = [train.images[train.labels == label] for label in range(10)]
    match begin:
        case "real":
            made = torch.stack([each[0] for each in chosen])
        case "mean":
            made = torch.stack([each.mean(dim=0) for each in chosen])
        case _:
            made = 0.5 + 0.3 * torch.randn(10, 1, 8, 8, generator=Generator().manual_seed(seed))
    module = Tensors(images=[10, 1, 8, 8], log_rate=[])
    return loaded(module, {"images": made}, missing=["log_rate"])


def learn(student: View, images: View) -> Tensor:
    """Cross-entropy of the ten images, each of which has its number for a label."""
    pictures = images()["images"]
    return F.cross_entropy(student(pictures), torch.arange(10, device=pictures.device))


def forget(problem: Problem) -> None:
    """Every student begins with other random weights."""
    for name, parameter in problem.model.params.items():
        if name.endswith("weight"):
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            torch.nn.init.zeros_(parameter)
