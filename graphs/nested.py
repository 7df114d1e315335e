"""What nested.yaml and four_levels.yaml need beside the library: a prior, and annotators."""

import torch
from torch import Generator, Tensor
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from mlograph.data import sparse_logistic
from mlograph.views import View

ERRORS = (0.05, 0.2, 0.35, 0.5)  # how often each of four annotators is wrong


def shrinkage(penalties: View, prior: View) -> dict[str, Tensor]:
    """−log of a normal density at the log-penalties: e^s/2 Σ (λ_i − m)² − n s/2, over n samples.

    Args:
        penalties: λ.
        prior: its mean m (`mean`) and the logarithm s of its precision (`log_precision`).
    """
    (penalty,) = penalties.parameters()
    mean, log_precision = prior()["mean"], prior()["log_precision"]
    away = log_precision.exp() * (penalty - mean).square()
    return {"loss": 0.5 * (away - log_precision).sum() / 100, "mean": mean.detach()}


def held_out(part: str, seed: int = 0) -> TensorDataset:
    """Samples of `mlograph.data.sparse_logistic` beside those to train on.

    Args:
        part: `validation`, as there; `clean`, 100 others; `pooled`, both of these; `annotated`, 400
            whose labels come from one of four annotators, some of whom often err, with the number
            of the annotator; or `test`, 2,000.
        seed: as there; and of the errors.
    """
    validation = sparse_logistic("validation", seed=seed)
    if part == "validation":
        return validation
    x, y = sparse_logistic("test", samples=2500, seed=seed).tensors
    if part == "annotated":
        who = torch.arange(400) % len(ERRORS)
        wrong = torch.rand(400, generator=Generator().manual_seed(seed)) < torch.tensor(ERRORS)[who]
        labels = y[100:500]
        return TensorDataset(x[100:500], torch.where(wrong, 1 - labels, labels), who)
    if part == "test":
        return TensorDataset(x[500:], y[500:])
    clean = TensorDataset(x[:100], y[:100])
    if part == "clean":
        return clean
    pooled = zip(clean.tensors, validation.tensors, strict=True)
    return TensorDataset(*(torch.cat(both) for both in pooled))


def trusted(model: View, trust: View, batch: tuple[Tensor, Tensor, Tensor]) -> dict[str, Tensor]:
    """The mean cross-entropy of samples, weighted by softmax(trust) of who labelled them."""
    x, y, who = batch
    weights = trust()["trust"].softmax(dim=0)
    each = F.binary_cross_entropy_with_logits(model(x).squeeze(1), y, reduction="none")
    loss = (weights[who] * each).sum() / weights[who].sum()
    return {"loss": loss, "best": weights[0].detach(), "worst": weights[-1].detach()}
