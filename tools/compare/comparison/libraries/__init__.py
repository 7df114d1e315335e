"""The libraries that are compared: one file each, one line each in `PACKAGES`."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from comparison.libraries.protocol import Library

# What each column imports. Its adapter lies beside this file, by its name in lower case.
PACKAGES = {
    "mlograph": "mlograph",
    "Betty": "betty",
    "TorchOpt": "torchopt",
    "hypertorch": "hypergrad",
    "BOAT": "boat_torch",
    "higher": "higher",
}


def load(name: str) -> Library | None:
    """A library by its column, or None where it is not installed."""
    if find_spec(PACKAGES[name]) is None:
        return None
    library: Library = import_module(f"{__name__}.{name.lower()}").LIBRARY
    return library
