"""A loss that people have thought of, to compare a learned one with."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mlograph.views import View


def generalised(classifier: View, batch: Sequence[Tensor], q: float = 0.7) -> dict[str, Tensor]:
    """The mean of (1 − p^q) / q (Zhang and Sabuncu, 2018): cross-entropy as q → 0, 1 − p at q = 1.

    Args:
        classifier: gives logits (n, classes).
        batch: inputs (n, …) and int64 labels (n,), to which the classifier gives p.
        q: above 0; 0.7 is the paper's.
    """
    x, y = batch
    logits = classifier(x)
    each = F.cross_entropy(logits, y, reduction="none")
    right = (logits.argmax(dim=1) == y).to(logits.dtype)
    return {"loss": (-torch.expm1(-q * each) / q).mean(), "accuracy": right.mean()}
