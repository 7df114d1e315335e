"""Fully connected networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mlograph.errors import UsageError
from mlograph.nn.choices import check_choice
from mlograph.nn.initial import initialise
from mlograph.pictures import Lines, Picture

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
}


class MLP(nn.Module):
    """A fully connected network; `MLP([d, 1])` is linear or logistic regression.

    Args:
        sizes: features of the input, of every hidden layer and of the output.
        activation: `relu`, `tanh`, `sigmoid`, `gelu` or `softplus`, after all layers but the last.

    Shapes:
        (n, …) with `sizes[0]` numbers each → (n, sizes[-1]).

    Raises:
        UsageError: fewer than two sizes, a size below 1, or an unknown activation.
    """

    def __init__(self, sizes: Sequence[int], activation: str = "relu") -> None:
        super().__init__()
        if len(sizes) < 2 or min(sizes) < 1:
            raise UsageError(
                f"sizes: expected two or more positive numbers such as [784, 256, 10], got {sizes}"
            )
        check_choice("activation", activation, tuple(_ACTIVATIONS))
        layers: list[nn.Module] = [nn.Flatten()]
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            linear = nn.Linear(inputs, outputs)
            rectified = activation in ("relu", "gelu") and not last
            initialise(linear, nonlinearity="relu" if rectified else "linear")
            layers += [linear] if last else [linear, _ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs (n, sizes[-1]), without an activation."""
        outputs: Tensor = self.layers(inputs)
        return outputs


class Weigher(nn.Module):
    """Meta-Weight-Net (Shu et al., 2019): a sample's weight as a function of its loss.

    One hidden layer with ReLU and a sigmoid at the end, so that weights lie in (0, 1).

    Args:
        hidden: features of the hidden layer.

    Shapes:
        losses (n, 1) → weights (n, 1).
    """

    def __init__(self, hidden: int = 100) -> None:
        super().__init__()
        self.layers = MLP([1, hidden, 1])
        # All weights start at 1/2: a random slope would saturate the sigmoid for large losses.
        for tensor in list(self.layers.parameters())[-2:]:
            nn.init.zeros_(tensor)

    def pictures(self) -> tuple[Picture, ...]:
        """The weight as a function of the loss, from 0 to 10."""
        first = next(self.parameters())
        losses = torch.linspace(0, 10, 101, dtype=first.dtype, device=first.device)
        weights = self(losses[:, None]).flatten().tolist()
        points = tuple(zip(losses.tolist(), weights, strict=True))
        lines = {"weight": points}
        return (Lines(title="weight of a sample", lines=lines, across="loss of the sample"),)

    def forward(self, losses: Tensor) -> Tensor:
        """The weights (n, 1) of samples with these `losses` (n, 1)."""
        return torch.sigmoid(self.layers(losses))
