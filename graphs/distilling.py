"""What distilling.yaml begins with, and how each of its students does."""

from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.utils.data import Dataset

from mlograph.data import labelled_images
from mlograph.nn import Tensors, loaded
from mlograph.problem import Problem
from mlograph.views import View


def images(dataset: Dataset[Any], begin: str = "mean", seed: int = 0) -> torch.nn.Module:
    """One image for each class of a data set, and the logarithm of a learning rate.

    Args:
        dataset: such as `mlograph.data.digits`.
        begin: `mean`, the mean of all images of the class; `real`, the first of them; or `noise`.
        seed: of the noise.
    """
    train = labelled_images(dataset)
    chosen = [train.gather(torch.where(train.labels == label)[0]) for label in range(10)]
    match begin:
        case "real":
            made = torch.stack([each[0] for each in chosen])
        case "mean":
            made = torch.stack([each.mean(dim=0) for each in chosen])
        case _:
            noise = torch.randn(10, *chosen[0].shape[1:], generator=Generator().manual_seed(seed))
            made = 0.5 + 0.3 * noise
    module = Tensors(images=made.shape, log_rate=[])
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
