"""The libraries that are timed: one file each, and a line for each way to use one."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from benchmark.libraries.protocol import Library

# What each way imports; the adapter beside this file, and the name of the way there.
LIBRARIES = {
    "mlograph": ("mlograph", "mlograph", "SEQUENTIAL"),
    "mlograph, processes": ("mlograph", "mlograph", "PROCESSES"),
    "mlograph, both": ("mlograph", "mlograph", "BOTH"),
    "mlograph, vectorized": ("mlograph", "mlograph", "VECTORIZED"),
    "mlograph, compiled": ("mlograph", "mlograph", "COMPILED"),
    "loop": ("torch", "loop", "LIBRARY"),
    "Betty": ("betty", "betty", "LIBRARY"),
    "TorchOpt": ("torchopt", "torchopt", "LIBRARY"),
    "higher": ("higher", "higher", "LIBRARY"),
    "BOAT": ("boat_torch", "boat", "LIBRARY"),
    "hypertorch": ("hypergrad", "hypertorch", "LIBRARY"),
    "original iMAML": ("implicit_maml", "imaml", "LIBRARY"),
    "learn2learn": ("learn2learn", "learn2learn", "LIBRARY"),
}


def load(name: str) -> Library | None:
    """A library by its name in `LIBRARIES`, or None where it is not installed."""
    package, file, way = LIBRARIES[name]
    if find_spec(package) is None:
        return None
    library: Library = vars(import_module(f"{__name__}.{file}"))[way]
    return library
