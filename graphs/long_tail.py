"""What long_tail.yaml needs beside the library's losses."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from mlograph.views import View


def by_class(classifier: View, weigher: View, batch: Sequence[Tensor]) -> dict[str, Tensor]:
    """Σ w_i ℓ_i / Σ w_i with ℓ_i the cross-entropy of sample i and w_i = exp(λ) of its class."""
    x, y = batch
    each = F.cross_entropy(classifier(x), y, reduction="none")
    weights = weigher(y).squeeze(-1).exp()
    return {"loss": (weights * each).sum() / weights.sum()}
