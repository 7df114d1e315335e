"""The convolutional network of few-shot learning."""

from __future__ import annotations

from typing import Literal

from torch import Tensor, channels_last, nn

from mlograph.errors import UsageError
from mlograph.nn.choices import check_choice
from mlograph.nn.folding import Conv, MaxPool
from mlograph.nn.initial import initialise
from mlograph.nn.normalization import BatchNorm

Downsample = Literal["stride", "pool"]
Norm = Literal["batch", "layer", "none"]


class ConvNet(nn.Module):
    """The convolutional network of few-shot learning (Vinyals et al., 2016; Finn et al., 2017).

    `layers` blocks of a 3×3 convolution, normalisation, ReLU and a halving of the resolution,
    then one linear layer. Batch normalisation always uses the statistics of the batch at hand
    and keeps none, so that the module is a pure function of its parameters and its input.

    Args:
        ways: the number of classes.
        hidden: channels of every block.
        channels: channels of the images.
        layers: the number of blocks.
        image_size: height and width of the images in pixels.
        downsample: `stride` convolves with stride 2 (a quarter of the work), `pool` takes
            the maximum of 2×2 pixels (learns much faster: small shifts do not matter).
        norm: `batch`, `layer` (over channels and positions of one image) or `none`.
        zero_head: start the linear layer at zero. Frozen there in an outer problem, it makes every
            inner loop start without a preference for any class (Kao et al., 2022).

    Shapes:
        (n, channels, image_size, image_size) → logits (n, ways).

    Raises:
        UsageError: an unknown choice, a size below 1, or images too small for so many layers.
    """

    def __init__(  # noqa: PLR0913, PLR0917 (each is a choice of the user's, and all have names)
        self,
        ways: int,
        hidden: int = 64,
        channels: int = 1,
        layers: int = 4,
        image_size: int = 28,
        downsample: Downsample = "pool",
        norm: Norm = "batch",
        zero_head: bool = False,
    ) -> None:
        super().__init__()
        if ways < 1:
            raise UsageError(f"ways: must be at least 1, got {ways}")
        self.features = ConvFeatures(hidden, channels, layers, image_size, downsample, norm)
        self.head = nn.Linear(self.features.outputs, ways)
        initialise(self.head, nonlinearity="linear")
        if zero_head:
            nn.init.zeros_(self.head.weight)

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, ways) of `images` (n, channels, height, width)."""
        logits: Tensor = self.head(self.features(images))
        return logits


class ConvFeatures(nn.Sequential):
    """What `ConvNet` makes of images before its linear layer, for a head that another problem has.

    Args:
        hidden: as for `ConvNet`, and so are all others.

    Attributes:
        outputs: features of each image.

    Shapes:
        (n, channels, image_size, image_size) → (n, outputs).

    Raises:
        UsageError: an unknown choice, a size below 1, or images too small for so many layers.
    """

    def __init__(
        self,
        hidden: int = 64,
        channels: int = 1,
        layers: int = 4,
        image_size: int = 28,
        downsample: Downsample = "pool",
        norm: Norm = "batch",
    ) -> None:
        for name, size in {"hidden": hidden, "channels": channels, "layers": layers}.items():
            if size < 1:
                raise UsageError(f"{name}: must be at least 1, got {size}")
        check_choice("downsample", downsample, ("stride", "pool"))
        check_choice("norm", norm, ("batch", "layer", "none"))
        super().__init__(
            *(_block(hidden if i else channels, hidden, downsample, norm) for i in range(layers))
        )
        self.outputs = hidden * _side(image_size, layers, downsample) ** 2

    def forward(self, images: Tensor) -> Tensor:
        """The features (n, outputs) of `images` (n, channels, height, width)."""
        features = images
        for block in self:
            features = block(features)
        return features.flatten(1)


def _block(inputs: int, outputs: int, downsample: Downsample, norm: Norm) -> nn.Sequential:
    # Batch statistics cancel a bias; kept, it would be a direction without curvature.
    # Group normalisation can be mapped over tasks only where images lie in torch's usual order.
    usual = norm == "layer"
    conv = (nn.Conv2d if usual else Conv)(
        inputs,
        outputs,
        kernel_size=3,
        padding=1,
        stride=2 if downsample == "stride" else 1,
        bias=norm != "batch",
    )
    initialise(conv, nonlinearity="relu")
    if not usual:
        # In this order pooling on a CPU is several times as fast, and convolutions are no slower.
        conv.weight = nn.Parameter(conv.weight.detach().clone(memory_format=channels_last))
    layers: list[nn.Module] = [conv]
    if norm == "batch":
        layers.append(BatchNorm(outputs))
    elif norm == "layer":
        layers.append(nn.GroupNorm(1, outputs))
    if downsample == "pool":
        # Before ReLU: both are monotone, so the result is the same, at a quarter of the work.
        layers.append(nn.MaxPool2d(2) if usual else MaxPool(2))
    layers.append(nn.ReLU())
    return nn.Sequential(*layers)


def _side(image_size: int, layers: int, downsample: Downsample) -> int:
    """The resolution that is left after `layers` halvings."""
    side = image_size
    for _ in range(layers):
        side = (side + 1) // 2 if downsample == "stride" else side // 2
    if side < 1:
        raise UsageError(
            f"image_size: {image_size} pixels cannot be halved {layers} times; use fewer layers"
        )
    return side
