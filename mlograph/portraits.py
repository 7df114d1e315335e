"""Pictures of what the upper problems of a run have learned."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from math import isqrt

import torch
from PIL import Image
from torch import Tensor, nn

from mlograph.pictures import MOST_BARS, Bars, Grid, Images, Picture, Pictured, Spread

_MOST_IMAGES = 60
_MOST_CELLS = 32
_MOST_NUMBERS = 200_000
# Fewer pixels on a side show nothing; kernels of convolutions have fewer, too.
_LEAST_SIDE = 6


def portraits(modules: Mapping[str, nn.Module], uppers: Sequence[str]) -> tuple[Picture, ...]:
    """What can be drawn of the parameters of upper problems.

    A module that is `Pictured` draws itself. Of another one, its own tensors are drawn (as of
    `mlograph.nn.Tensors`): a row of numbers as bars, or by how they are spread where they are many;
    a small matrix as a grid; tensors (n, h, w), (n, 1 or 3, h, w), and (n, d) with a square number
    d of at least 64, as images. Of a network, whose single weights say nothing, only how the
    numbers of each of its tensors are spread.

    Args:
        modules: by problem.
        uppers: the problems to draw.
    """
    found: list[Picture] = []
    for name in uppers:
        module = modules[name]
        with torch.no_grad():
            if isinstance(module, Pictured):
                found += [
                    one.model_copy(update={"title": f"{name}: {one.title}"})
                    for one in module.pictures()
                ]
            else:
                found += _drawn(name, module)
    return tuple(found)


def _drawn(name: str, module: nn.Module) -> Iterator[Picture]:
    own = {n: t.detach() for n, t in module.named_parameters() if t.is_floating_point()}
    nested = any(True for part in module.children() if not isinstance(part, _HOLDERS))
    if nested:
        groups = {n: _numbers(t) for n, t in own.items()}
        yield Spread.of(f"{name}: values of each tensor", groups)
        return
    single = {n: float(t) for n, t in own.items() if t.numel() == 1}
    if single:
        yield Bars(title=name, values=tuple(single.values()), labels=tuple(single))
    for part, tensor in own.items():
        if tensor.numel() > 1:
            yield _tensor(f"{name}.{part}", tensor)


_HOLDERS = (nn.ParameterDict, nn.ParameterList)


def _tensor(title: str, tensor: Tensor) -> Picture:
    pixels = _pixels(tensor)
    if pixels is not None:
        shape = "×".join(map(str, tensor.shape))
        return Images(title=f"{title} ({shape})", images=tuple(map(_png, pixels[:_MOST_IMAGES])))
    if tensor.dim() == 2 and max(tensor.shape) <= _MOST_CELLS and min(tensor.shape) > 1:
        return Grid(title=title, values=tuple(tuple(row) for row in tensor.tolist()))
    if tensor.numel() <= MOST_BARS:
        return Bars(title=title, values=tuple(tensor.flatten().tolist()))
    return Spread.of(title, {"": _numbers(tensor)})


def _pixels(tensor: Tensor) -> Tensor | None:
    """The tensor as images (n, channels, height, width), if it looks like images."""
    if (
        tensor.dim() == 2
        and tensor.shape[1] >= 64
        and isqrt(tensor.shape[1]) ** 2 == tensor.shape[1]
    ):
        side = isqrt(tensor.shape[1])
        tensor = tensor.reshape(-1, 1, side, side)
    if tensor.dim() == 3:
        tensor = tensor[:, None]
    fits = tensor.dim() == 4 and tensor.shape[1] in {1, 3} and min(tensor.shape[2:]) >= _LEAST_SIDE
    return tensor if fits and len(tensor) else None


def _png(image: Tensor) -> str:
    """One image (channels, height, width) as a PNG in base64, its own least value black."""
    image = torch.nan_to_num(image.float().cpu(), 0.0, 0.0, 0.0)
    low, high = image.min(), image.max()
    scaled = ((image - low) / (high - low).clamp_min(1e-12) * 255).round().to(torch.uint8)
    array = scaled[0].numpy() if len(scaled) == 1 else scaled.permute(1, 2, 0).numpy()
    file = io.BytesIO()
    Image.fromarray(array).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()


def _numbers(tensor: Tensor) -> list[float]:
    """Its entries, or evenly chosen ones of very many."""
    flat = tensor.flatten()
    stride = max(1, -(-flat.numel() // _MOST_NUMBERS))
    numbers: list[float] = flat[::stride].tolist()
    return numbers
