"""Where the parameters of layers start."""

from __future__ import annotations

from typing import Literal

from torch import nn


def initialise(layer: nn.Linear | nn.Conv2d, nonlinearity: Literal["relu", "linear"]) -> None:
    """He initialisation where a ReLU follows, Xavier's elsewhere; biases start at zero."""
    if nonlinearity == "relu":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
