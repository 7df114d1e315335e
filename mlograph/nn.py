"""The modules that the shipped graphs are made of; any `torch.nn.Module` does as well."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from mlograph.errors import UsageError, did_you_mean
from mlograph.pictures import Lines, Picture

__all__ = ["MLP", "ConvFeatures", "ConvNet", "Table", "Tensors", "Weigher", "filled", "loaded"]

Downsample = Literal["stride", "pool"]
Norm = Literal["batch", "layer", "none"]

_ACTIVATIONS: Mapping[str, Callable[[], nn.Module]] = {
    "relu": nn.ReLU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "gelu": nn.GELU,
    "softplus": nn.Softplus,
}


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
        _initialise(self.head, nonlinearity="linear")
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
        _check_choice("downsample", downsample, ("stride", "pool"))
        _check_choice("norm", norm, ("batch", "layer", "none"))
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
        _check_choice("activation", activation, tuple(_ACTIVATIONS))
        layers: list[nn.Module] = [nn.Flatten()]
        for i, (inputs, outputs) in enumerate(pairwise(sizes)):
            last = i == len(sizes) - 2
            linear = nn.Linear(inputs, outputs)
            rectified = activation in ("relu", "gelu") and not last
            _initialise(linear, nonlinearity="relu" if rectified else "linear")
            layers += [linear] if last else [linear, _ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers)

    def forward(self, inputs: Tensor) -> Tensor:
        """The outputs (n, sizes[-1]), without an activation."""
        outputs: Tensor = self.layers(inputs)
        return outputs


class Tensors(nn.Module):
    """Bare tensors as a module: `Tensors(weights=[5000])` has one parameter of 5000 zeros.

    Calling it gives the tensors by name.

    Args:
        init: the value of every entry, or one value for each name.
        shapes: the shape of each tensor; `[]` makes a scalar, a number is short for one axis.

    Raises:
        UsageError: no tensors, a name that a module cannot give, or `init` names no tensor.
    """

    def __init__(
        self, init: float | Mapping[str, float] = 0.0, **shapes: Sequence[int] | int
    ) -> None:
        super().__init__()
        if not shapes:
            raise UsageError("Tensors: give at least one name and shape, as in weights: [5000]")
        if isinstance(init, Mapping):
            for name in init:
                if name not in shapes:
                    raise UsageError(f"init: no tensor '{name}' ({did_you_mean(name, shapes)})")
        for name, shape in shapes.items():
            value = init.get(name, 0.0) if isinstance(init, Mapping) else init
            sizes = (shape,) if isinstance(shape, int) else tuple(shape)
            tensor = torch.full(sizes, float(value), dtype=torch.get_default_dtype())
            try:
                self.register_parameter(name, nn.Parameter(tensor))
            except KeyError:
                raise UsageError(
                    f"Tensors: '{name}' cannot name a tensor, choose another"
                ) from None

    def forward(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return dict(self.named_parameters())


def filled(module: nn.Module, value: float) -> nn.Module:
    """A module with `value` for every entry of every parameter: one number for each of another's.

    Args:
        module: gives names and shapes, such as the module of the problem whose rates these are.
        value: of all entries.
    """
    for parameter in module.parameters():
        nn.init.constant_(parameter, value)
    return module


def loaded(
    module: nn.Module, weights: Mapping[str, Tensor], missing: Sequence[str] = ()
) -> nn.Module:
    """A module whose parameters and buffers begin as `weights` say, such as another run's.

    Args:
        module: the architecture.
        weights: by name, such as `mlograph.data.learned` gives; what `module` lacks is an error.
        missing: globs over names that `weights` need not give; these stay as they are.

    Raises:
        UsageError: names or shapes do not fit.
    """
    ours = module.state_dict()
    for name, tensor in weights.items():
        if name not in ours:
            raise UsageError(f"weights: the module has no '{name}' ({did_you_mean(name, ours)})")
        if ours[name].shape != tensor.shape:
            raise UsageError(
                f"weights: '{name}' has shape {tuple(tensor.shape)}, and {tuple(ours[name].shape)} "
                "in the module"
            )
    for name in ours.keys() - weights.keys():
        if not any(fnmatchcase(name, pattern) for pattern in missing):
            raise UsageError(f"weights: give no '{name}' (list it as missing if it may be new)")
    module.load_state_dict(dict(weights), strict=False)
    return module


class Table(nn.Module):
    """A row of numbers for each of some numbered things: a policy, or a value, of cells.

    Args:
        rows: how many things.
        width: numbers of each.
        init: what all of them start as.

    Shapes:
        int64 (…) → (…, width).

    Raises:
        UsageError: no rows, or rows of nothing.
    """

    def __init__(self, rows: int, width: int = 1, init: float = 0.0) -> None:
        super().__init__()
        for name, size in {"rows": rows, "width": width}.items():
            if size < 1:
                raise UsageError(f"{name}: must be at least 1, got {size}")
        self.rows = nn.Parameter(torch.full((rows, width), float(init)))

    def forward(self, numbers: Tensor) -> Tensor:
        """The rows that `numbers` (…) name: (…, width)."""
        found: Tensor = self.rows[numbers]
        return found


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


def _block(inputs: int, outputs: int, downsample: Downsample, norm: Norm) -> nn.Sequential:
    # Batch statistics cancel a bias; kept, it would be a direction without curvature.
    conv = nn.Conv2d(
        inputs,
        outputs,
        kernel_size=3,
        padding=1,
        stride=2 if downsample == "stride" else 1,
        bias=norm != "batch",
    )
    _initialise(conv, nonlinearity="relu")
    layers: list[nn.Module] = [conv]
    if norm == "batch":
        layers.append(nn.BatchNorm2d(outputs, track_running_stats=False))
    elif norm == "layer":
        layers.append(nn.GroupNorm(1, outputs))
    if downsample == "pool":
        # Before ReLU: both are monotone, so the result is the same, at a quarter of the work.
        layers.append(nn.MaxPool2d(2))
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


def _initialise(layer: nn.Linear | nn.Conv2d, nonlinearity: Literal["relu", "linear"]) -> None:
    """He initialisation where a ReLU follows, Xavier's elsewhere; biases start at zero."""
    if nonlinearity == "relu":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    else:
        nn.init.xavier_normal_(layer.weight)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)


def _check_choice(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise UsageError(f"{name}: unknown '{value}' ({did_you_mean(value, known)})")
