"""What cleaning.yaml needs beside the library's losses."""

from collections.abc import Sequence

from torch import Tensor
from torch.nn import functional as F

from mlograph.views import View


def weighted(classifier: View, trust: View, batch: Sequence[Tensor]) -> dict[str, Tensor]:
    """The mean of σ(λ_i) · ℓ_i over samples i, with ℓ_i the cross-entropy and λ_i the trust."""
    x, y, number = batch
    each = F.cross_entropy(classifier(x), y, reduction="none")
    weight = trust(number).squeeze(-1).sigmoid()
    return {"loss": (weight * each).mean(), "weight": weight.detach().mean()}
