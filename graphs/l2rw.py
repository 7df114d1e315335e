"""What l2rw.yaml needs beside the library's losses."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from mlograph.views import View


def tried(virtual: View, weights: View, batch: Sequence[Tensor]) -> Tensor:
    """Σ ε_i ℓ_i, whose derivative by ε is asked for at ε = 0."""
    (eps,) = weights.parameters()
    x, y = batch
    return (eps * F.cross_entropy(virtual(x), y, reduction="none")).sum()


def reweighted(classifier: View, weights: View, batch: Sequence[Tensor]) -> dict[str, Tensor]:
    """Σ w_i ℓ_i with w = max(ε, 0) / Σ max(ε, 0)."""
    (eps,) = weights.parameters()
    x, y = batch
    useful = eps.relu()
    share = useful / useful.sum().clamp_min(1e-12)
    each = F.cross_entropy(classifier(x), y, reduction="none")
    return {"loss": (share * each).sum(), "kept": (eps.detach() > 0).to(x.dtype).mean()}
