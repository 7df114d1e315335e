"""What learned_loss.yaml needs beside the library's losses."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from mlograph.problem import Problem
from mlograph.views import View


def taylor(classifier: View, series: View, batch: Sequence[Tensor]) -> dict[str, Tensor]:
    """Cross-entropy as a power series in 1 − p, with a coefficient of its own for each term.

    −log p = Σ_k (1 − p)^k / k, where p is what the classifier gives the label. The mean over
    samples of Σ_{k ≤ K} c_k (1 − p)^k / k + c_rest · (all further terms), with c = exp(λ): λ = 0
    is cross-entropy, c_1 alone the mean absolute error.

    Args:
        classifier: gives logits (n, classes).
        series: λ, (K + 1,), the last one for the rest.
        batch: inputs (n, …) and int64 labels (n,).
    """
    x, y = batch
    each = F.cross_entropy(classifier(x), y, reduction="none")
    wrong = 1 - torch.exp(-each)
    (logarithms,) = series.parameters()
    *first, rest = logarithms.exp()
    terms = [wrong**k / k for k in range(1, len(first) + 1)]
    loss = rest * (each - torch.stack(terms).sum(0))
    for coefficient, term in zip(first, terms, strict=True):
        loss = loss + coefficient * term
    return {"loss": loss.mean(), "cross_entropy": each.detach().mean()}


def forget(problem: Problem) -> None:
    """Every classifier begins with other random weights."""
    for name, parameter in problem.model.params.items():
        if name.endswith("weight"):
            torch.nn.init.kaiming_normal_(parameter, nonlinearity="relu")
        else:
            torch.nn.init.zeros_(parameter)
