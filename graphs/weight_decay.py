"""What weight_decay.yaml needs beside the library's data and losses."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

from mlograph.data import ImageClasses, labelled_images
from mlograph.views import View


def beside(dataset: Dataset[Any], seed: int = 0) -> ImageClasses:
    """Each image with another one of `dataset` to its right, which its label says nothing of."""
    whole = labelled_images(dataset)
    count = len(whole.labels)
    other = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    images = whole.gather(torch.arange(count))
    return ImageClasses(torch.cat([images, images[other]], dim=3), whole.labels)


def decayed(model: View, decay: View, scale: float) -> Tensor:
    """½ Σ_i scale · exp(λ_i) θ_i²: a weight decay of its own for each number of the model."""
    weights, logs = model.named_parameters(), decay.named_parameters()
    terms = [(logs[name].exp() * weights[name].square()).sum() for name in weights]
    return 0.5 * scale * torch.stack(terms).sum()
